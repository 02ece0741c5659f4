"""Short links: one file, for a while, without a session; from a disk and from a bucket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.app import create_app
from octavia_stream.config import Settings
from octavia_stream.runtime import Runtime, open_runtime
from tests.api.conftest import RESULT, VIDEO, NewJob, Person, ScriptedWorker, create_job, person, serving, upload_video
from tests.storage.s3 import make_bucket, s3_server, s3_settings

pytestmark = pytest.mark.services


async def link_of(somebody: Person, path: str, **wish: Any) -> str:
    answer = await somebody.http.post(f"{path}/links", json=wish)
    assert answer.status_code == 201, answer.text
    url: str = answer.json()["url"]
    return url


@pytest.fixture(scope="module")
async def finished(alice: Person, new_job: NewJob, runtime: Runtime) -> str:
    """The path of a job of Alice that has completed."""
    job = await new_job(submit=True)
    await ScriptedWorker(runtime).play(job["id"])
    return f"/api/v1/jobs/{job['id']}"


async def test_a_link_opens_one_file_for_anyone(alice: Person, anyone: httpx.AsyncClient, finished: str) -> None:
    url = await link_of(alice, finished)
    got = await anyone.get(url)
    assert (got.status_code, got.content) == (200, RESULT)
    assert got.headers["content-type"] == "video/mp4"
    assert "attachment" in got.headers["content-disposition"]
    assert "talk.pt.mp4" in got.headers["content-disposition"]
    assert got.headers["x-content-type-options"] == "nosniff"
    part = await anyone.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, RESULT[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(RESULT)}"
    assert (await anyone.get(url, headers={"Range": f"bytes={len(RESULT)}-"})).status_code == 416
    assert (await anyone.get(url, headers={"If-None-Match": got.headers["etag"]})).status_code == 304
    head = await anyone.head(url)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(RESULT)))
    subtitles = await anyone.get(await link_of(alice, finished, artifact="source.srt", inline=True))
    assert subtitles.headers["content-type"].startswith("application/x-subrip")
    # Only what a browser cannot run is shown in it.
    assert "attachment" in subtitles.headers["content-disposition"]
    shown = await anyone.get(await link_of(alice, finished, inline=True))
    assert shown.headers["content-disposition"].startswith("inline")


async def test_an_upload_can_be_linked_too(alice: Person, anyone: httpx.AsyncClient) -> None:
    upload = await upload_video(alice)
    url = await link_of(alice, f"/api/v1/uploads/{upload['id']}")
    assert (await anyone.get(url)).content == await asyncio.to_thread(VIDEO.read_bytes)
    # It goes with what it opens.
    await alice.http.delete(f"/api/v1/uploads/{upload['id']}")
    assert (await anyone.get(url)).status_code == 404


async def test_a_link_that_was_altered_opens_nothing(alice: Person, anyone: httpx.AsyncClient, finished: str) -> None:
    url = await link_of(alice, finished)
    path, _, token = url.rpartition("/")
    altered = [
        token[:-1],
        token + "A",
        token[1:],
        "A" * len(token),
        token[:20] + ("A" if token[20] != "A" else "B") + token[21:],
    ]
    altered += [token[:i] + ("-" if token[i] != "-" else "_") + token[i + 1 :] for i in range(0, len(token), 7)]
    altered += [token[:-1] + letter for letter in "AQgw" if letter != token[-1]]
    for wrong in altered:
        answer = await anyone.get(f"{path}/{wrong}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), wrong


async def test_a_link_expires(alice: Person, anyone: httpx.AsyncClient, finished: str) -> None:
    url = await link_of(alice, finished, expires_in_s=1)

    async def status() -> int:
        return (await anyone.get(url)).status_code

    async with asyncio.timeout(30):
        while await status() == 200:  # noqa: ASYNC110  (only the clock tells)
            await asyncio.sleep(0.1)
    answer = await anyone.get(url)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert answer.json()["detail"] == "The link has expired; ask for a new one."


async def test_nobody_links_what_is_not_theirs_or_not_there(alice: Person, bob: Person, finished: str) -> None:
    assert (await bob.http.post(f"{finished}/links", json={})).status_code == 404
    assert (await alice.http.post(f"{finished}/links", json={"artifact": "none"})).status_code == 404
    for wrong in ({"expires_in_s": 0}, {"expires_in_s": 10**9}, {"artefact": "x"}):
        assert (await alice.http.post(f"{finished}/links", json=wrong)).status_code == 400
    upload = await upload_video(alice)
    job = await create_job(alice, upload["id"])
    assert (await alice.http.post(f"/api/v1/jobs/{job['id']}/links", json={})).status_code == 409


@pytest.fixture
async def in_a_bucket(settings: Settings) -> AsyncIterator[tuple[str, Runtime]]:
    """The same server over the S3 protocol: its address, and what it stands on."""
    with s3_server() as endpoint:
        bucket = make_bucket(endpoint)
        changes = {"storage_url": f"s3://{bucket}/octavia", "s3": s3_settings(endpoint)}
        with_bucket = settings.model_copy(update=changes)
        async with serving(create_app(with_bucket), with_bucket) as address, open_runtime(with_bucket) as runtime:
            yield address, runtime


async def test_a_whole_server_works_over_a_bucket(in_a_bucket: tuple[str, Runtime]) -> None:
    """Upload, resumable upload, a job's result, ranges of it, and a link that leads to the bucket."""
    address, runtime = in_a_bucket
    content = await asyncio.to_thread(VIDEO.read_bytes)
    async with person(address) as somebody, httpx.AsyncClient(base_url=address) as anyone:
        upload = await upload_video(somebody)
        assert await runtime.objects.get(f"uploads/{upload['id']}") == content
        tus = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
        named = {"Upload-Metadata": "file_type dmlkZW8=", "Upload-Length": str(len(content))}
        begun = await somebody.http.post("/api/v1/tus", headers={**tus, **named}, content=content[:50_000])
        assert (begun.status_code, begun.headers["upload-offset"]) == (201, "50000")
        location = begun.headers["location"]
        rest = await somebody.http.patch(location, headers={**tus, "Upload-Offset": "50000"}, content=content[50_000:])
        assert rest.status_code == 204
        in_pieces = (await somebody.http.get(f"/api/v1/uploads/{location.rpartition('/')[2]}")).json()
        assert in_pieces["sha256"] == upload["sha256"]
        assert [found.key async for found in runtime.objects.list("tus")] == []
        job = await create_job(somebody, in_pieces["id"])
        await somebody.http.post(f"/api/v1/jobs/{job['id']}/process")
        await ScriptedWorker(runtime).play(job["id"])
        path = f"/api/v1/jobs/{job['id']}"
        part = await somebody.http.get(f"{path}/download", headers={"Range": "bytes=5-9"})
        assert (part.status_code, part.content) == (206, RESULT[5:10])
        url = await link_of(somebody, path)
        led = await anyone.get(url)
        assert led.status_code == 307
        there = led.headers["location"]
        got = await anyone.get(there, headers={"Range": "bytes=5-9"})
        assert (got.status_code, got.content) == (206, RESULT[5:10])
        assert got.headers["content-type"] == "video/mp4"
        assert "upload.pt.mp4" in got.headers["content-disposition"]
        # Nothing that a user may see names another object than the one that was linked.
        assert (await anyone.head(url)).headers["content-length"] == str(len(RESULT))
