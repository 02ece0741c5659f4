"""The same suite on a disk, in memory, and over the S3 protocol."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from octavia_stream.storage.objects import ObjectStore
from tests.storage.s3 import make_bucket, s3_server, s3_settings


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 server on the loopback."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture(params=["file", "memory", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "file":
        return ObjectStore.from_url((tmp_path / "objects with a space").as_uri())
    if request.param == "memory":
        return ObjectStore.from_url("memory:")
    endpoint = request.getfixturevalue("s3_endpoint")
    return ObjectStore.from_s3(f"s3://{make_bucket(endpoint)}/a/prefix", s3_settings(endpoint))
