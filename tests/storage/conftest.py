"""The same suite on a disk, in memory, and over the S3 protocol."""

from collections.abc import Iterator
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import pytest
from moto.server import ThreadedMotoServer

from octavia_stream.storage.objects import ObjectStore

_S3_OPTIONS = {
    "access_key_id": "test",
    "secret_access_key": "test",
    "region": "us-east-1",
    "allow_http": "true",
    "virtual_hosted_style_request": "false",
}


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 server on the loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["file", "memory", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "file":
        return ObjectStore.from_url((tmp_path / "objects with a space").as_uri())
    if request.param == "memory":
        return ObjectStore.from_url("memory:")
    endpoint = request.getfixturevalue("s3_endpoint")
    bucket = f"bucket-{abs(hash(tmp_path))}"
    _make_bucket(endpoint, bucket)
    return ObjectStore.from_url(f"s3://{bucket}/a/prefix", {**_S3_OPTIONS, "endpoint": endpoint})


def _make_bucket(endpoint: str, name: str) -> None:
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    client.create_bucket(Bucket=name)
    client.close()
