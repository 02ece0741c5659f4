"""One contract for every kind of storage."""

import asyncio
import hashlib
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3  # type: ignore[import-untyped]
import httpx
import pytest
from botocore.config import Config  # type: ignore[import-untyped]

from octavia_stream.errors import Conflict, InvalidRequest, NotFound, StorageFull, StorageUnavailable
from octavia_stream.storage.objects import PART_BYTES, ObjectStore
from octavia_stream.storage.presigning import Presigner
from tests.storage.s3 import make_bucket, s3_client, s3_settings

BIG = random.Random(7).randbytes(2 * PART_BYTES + 12345)  # noqa: S311  (any bytes do)


async def _pieces(data: bytes, size: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def _read(objects: ObjectStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in objects.stream(key, start, end)])


async def _keys(objects: ObjectStore, prefix: str) -> set[str]:
    return {found.key async for found in objects.list(prefix)}


async def test_what_is_put_can_be_got(objects: ObjectStore) -> None:
    stored = await objects.put("jobs/1/a.txt", b"text")
    assert stored == (4, hashlib.sha256(b"text").hexdigest())
    assert await objects.get("jobs/1/a.txt") == b"text"
    assert await objects.size("jobs/1/a.txt") == 4
    await objects.put("jobs/1/a.txt", b"")
    assert await objects.get("jobs/1/a.txt") == b""
    assert await _read(objects, "jobs/1/a.txt") == b""


async def test_a_stream_of_many_parts_arrives_whole(objects: ObjectStore) -> None:
    assert await objects.put_stream("big", _pieces(BIG)) == (len(BIG), hashlib.sha256(BIG).hexdigest())
    assert await _read(objects, "big") == BIG
    assert await objects.put_stream("empty", _pieces(b"")) == (0, hashlib.sha256(b"").hexdigest())
    assert await objects.get("empty") == b""


async def test_ranges_are_what_was_asked_for(objects: ObjectStore) -> None:
    await objects.put_stream("big", _pieces(BIG))
    for start, end in [(0, 1), (5, 5), (100, 3_000_000), (len(BIG) - 7, len(BIG)), (PART_BYTES - 1, PART_BYTES + 1)]:
        assert await _read(objects, "big", start, end) == BIG[start:end]
    assert await _read(objects, "big", len(BIG) - 10) == BIG[-10:]
    assert await _read(objects, "big", len(BIG) - 10, len(BIG) + 100) == BIG[-10:]


async def test_a_stream_that_breaks_leaves_nothing(objects: ObjectStore) -> None:
    class Gone(Exception):
        pass

    async def breaking() -> AsyncIterator[bytes]:
        async for piece in _pieces(BIG):
            yield piece
        raise Gone

    with pytest.raises(Gone):
        await objects.put_stream("x/broken", breaking())
    assert not await objects.exists("x/broken")
    assert await _keys(objects, "x") == set()


async def test_a_cancelled_stream_leaves_nothing(objects: ObjectStore) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000
            begun.set()
            await asyncio.sleep(0.001)

    task = asyncio.create_task(objects.put_stream("x/endless", endless()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await objects.exists("x/endless")


async def test_files_go_in_and_out(objects: ObjectStore, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(BIG)
    assert await objects.put_file("file", source) == (len(BIG), hashlib.sha256(BIG).hexdigest())
    await objects.download("file", target)
    assert target.read_bytes() == BIG
    with pytest.raises(NotFound):
        await objects.download("none", tmp_path / "none")
    left = await asyncio.to_thread(lambda: {path.name for path in tmp_path.iterdir() if path.is_file()})
    assert left == {"in", "out"}


async def test_only_one_can_create_an_object(objects: ObjectStore) -> None:
    made = await asyncio.gather(
        *(objects.put("once", str(n).encode(), create_only=True) for n in range(6)), return_exceptions=True
    )
    assert sum(isinstance(one, Conflict) for one in made) == 5
    winner = next(n for n, one in enumerate(made) if not isinstance(one, BaseException))
    assert await objects.get("once") == str(winner).encode()
    # Whoever lost the answer says the same again.
    await objects.put("once", str(winner).encode(), create_only=True)


async def test_a_stream_does_not_overwrite(objects: ObjectStore) -> None:
    await objects.put_stream("once", _pieces(BIG), create_only=True)
    for other in (BIG + b"x", b""):
        with pytest.raises(Conflict):
            await objects.put_stream("once", _pieces(other), create_only=True)
        with pytest.raises(Conflict):
            await objects.put("once", other, create_only=True)
    assert await objects.get("once") == BIG
    # Whoever lost the answer says the same again.
    await objects.put_stream("once", _pieces(BIG), create_only=True)
    assert await _keys(objects, "staging") == set()


async def test_a_bucket_keeps_no_part_of_what_broke_off(s3_endpoint: str) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        async for piece in _pieces(BIG):
            yield piece
        raise ValueError

    bucket = make_bucket(s3_endpoint)
    objects = ObjectStore.from_s3(f"s3://{bucket}/p", s3_settings(s3_endpoint))
    with pytest.raises(ValueError):  # noqa: PT011  (its own)
        await objects.put_stream("broken", breaking())
    await objects.put_stream("whole", _pieces(BIG), create_only=True)
    with pytest.raises(Conflict):
        await objects.put_stream("whole", _pieces(b"other"), create_only=True)
    client = s3_client(s3_endpoint)
    assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    assert {found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]} == {"p/whole"}
    client.close()


async def test_a_bucket_gives_an_object_out_itself_under_the_name_that_was_signed(s3_endpoint: str) -> None:
    bucket = make_bucket(s3_endpoint)
    objects = ObjectStore.from_s3(f"s3://{bucket}/a/prefix", s3_settings(s3_endpoint))
    await objects.put("jobs/1/dub.mp4", b"0123456789")
    answer = {"Content-Type": "video/mp4", "Content-Disposition": "attachment; filename*=UTF-8''Ol%C3%A1.mp4"}
    url = objects.signed_url("jobs/1/dub.mp4", 60, answer)
    assert url is not None
    async with httpx.AsyncClient() as client:
        got = await client.get(url, headers={"Range": "bytes=2-4"})
    assert (got.status_code, got.content) == (206, b"234")
    assert {name: got.headers[name] for name in answer} == answer
    plain = s3_settings(s3_endpoint).model_copy(update={"redirect_downloads": False})
    assert ObjectStore.from_s3(f"s3://{bucket}", plain).signed_url("a", 60, {}) is None
    assert ObjectStore.from_url("memory:").signed_url("a", 60, {}) is None


def test_a_signature_is_that_of_the_standard() -> None:
    """Checked against what the official client signs."""
    signer = Presigner("http://127.0.0.1:9000", "bucket", "a/prefix", "eu-west-1", "key", "secret")
    client = boto3.client(
        "s3", endpoint_url=signer.endpoint, region_name="eu-west-1", aws_access_key_id="key",
        aws_secret_access_key="secret", config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )  # fmt: skip
    disposition = "attachment; filename=\"a b.mp4\"; filename*=UTF-8''%C3%A9.mp4"
    wanted = {"Bucket": "bucket", "Key": "a/prefix/jobs/1/dub~x.mp4", "ResponseContentDisposition": disposition}
    theirs = client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=60)
    client.close()
    at = datetime.strptime(parse_qs(urlsplit(theirs).query)["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ours = signer.url("jobs/1/dub~x.mp4", 60, {"Content-Disposition": disposition}, now=at)
    assert urlsplit(ours).path == urlsplit(theirs).path
    assert parse_qs(urlsplit(ours).query) == parse_qs(urlsplit(theirs).query)


async def test_what_is_missing_is_not_found(objects: ObjectStore) -> None:
    for ask in (objects.get, objects.size):
        with pytest.raises(NotFound):
            await ask("none")
    with pytest.raises(NotFound):
        await _read(objects, "none", 3, 9)
    await objects.delete("none")
    assert await objects.delete_prefix("none") == 0


async def test_a_prefix_is_whole_segments(objects: ObjectStore) -> None:
    for key in ("jobs/1/a", "jobs/1/b/c", "jobs/12/a"):
        await objects.put(key, b"x")
    assert await _keys(objects, "jobs/1") == {"jobs/1/a", "jobs/1/b/c"}
    assert await objects.delete_prefix("jobs/1") == 2
    assert await _keys(objects, "jobs") == {"jobs/12/a"}


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a b", "a\\b", "ä", "a#1", "x" * 600])
async def test_a_key_that_could_be_a_path_is_refused(objects: ObjectStore, key: str) -> None:
    calls = [objects.get(key), objects.put(key, b""), objects.delete(key), objects.size(key), _read(objects, key)]
    for call in calls:
        with pytest.raises(InvalidRequest):
            await call
    with pytest.raises(InvalidRequest):
        objects.local_path(key)


async def test_a_local_store_shows_its_files(tmp_path: Path) -> None:
    objects = ObjectStore.from_url(tmp_path.as_uri())
    await objects.put("a/b.mp4", b"film")
    path = objects.local_path("a/b.mp4")
    assert path is not None
    assert path.read_bytes() == b"film"
    assert ObjectStore.from_url("memory:").local_path("a/b.mp4") is None


async def test_a_store_that_is_away_is_unavailable() -> None:
    options = {"endpoint": "http://127.0.0.1:9", "allow_http": "true", "access_key_id": "x", "secret_access_key": "x"}
    objects = ObjectStore.from_url("s3://bucket", {**options, "region": "us-east-1"})
    with pytest.raises(StorageUnavailable):
        await objects.get("a")


async def test_a_url_of_no_store_is_refused() -> None:
    for url in ("ftp://host/x", "nonsense", "s3://"):
        with pytest.raises(InvalidRequest):
            ObjectStore.from_url(url)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, where one can be mounted."""
    mounted = shutil.which("mount") is not None and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], stderr=subprocess.DEVNULL
    )
    if not mounted:
        pytest.skip("mounting a small file system needs root")
    yield tmp_path
    subprocess.check_call(["umount", "-l", tmp_path])


async def test_a_full_disk_is_said_to_be_full(tiny_disk: Path) -> None:
    objects = ObjectStore.from_url(tiny_disk.as_uri())
    with pytest.raises(StorageFull):
        await objects.put_stream("big", _pieces(BIG))
    with pytest.raises(StorageFull):
        await objects.put("big", BIG)
    assert not await objects.exists("big")
    elsewhere = ObjectStore.from_url("memory:")
    await elsewhere.put("big", BIG)
    with pytest.raises(StorageFull):
        await elsewhere.download("big", tiny_disk / "big")
