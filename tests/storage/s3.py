"""A real S3 protocol server on the loopback, its buckets, and the settings that reach it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import boto3  # type: ignore[import-untyped]
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from octavia_stream.config import S3Settings


@contextmanager
def s3_server() -> Iterator[str]:
    """Yields its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def s3_settings(endpoint: str) -> S3Settings:
    return S3Settings(endpoint=endpoint, access_key_id="test", secret_access_key=SecretStr("test"))


def s3_client(endpoint: str) -> Any:
    """The official client; close it."""
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )


def make_bucket(endpoint: str) -> str:
    """A new bucket's name."""
    name = f"bucket-{uuid4().hex}"
    client = s3_client(endpoint)
    client.create_bucket(Bucket=name)
    client.close()
    return name
