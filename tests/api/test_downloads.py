"""Results: whole, in parts, by name, and only when there are any."""

import asyncio
from urllib.parse import unquote

import pytest

import api.correlation
from octavia_stream.runtime import Runtime
from tests.api.conftest import RESULT, SUBTITLES, NewJob, Person, ScriptedWorker, create_job, upload_video

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
async def url(alice: Person, new_job: NewJob, runtime: Runtime) -> str:
    """The download of a finished job."""
    job = await new_job(submit=True)
    await ScriptedWorker(runtime).play(job["id"])
    return f"/api/v1/jobs/{job['id']}/download"


SIZE = len(RESULT)


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-499", 0, 500),
        ("bytes=100-", 100, SIZE),
        ("bytes=-77", SIZE - 77, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        (f"bytes=5-{SIZE * 3}", 5, SIZE),
    ],
)
async def test_one_part_comes_as_206(alice: Person, url: str, header: str, start: int, end: int) -> None:
    part = await alice.http.get(url, headers={"Range": header})
    assert part.status_code == 206
    assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert part.headers["Content-Length"] == str(end - start)
    assert part.content == RESULT[start:end]


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "items=0-1", "bytes=9-3", "nonsense"])
async def test_a_range_not_understood_brings_the_whole(alice: Person, url: str, header: str) -> None:
    whole = await alice.http.get(url, headers={"Range": header})
    assert (whole.status_code, whole.content) == (200, RESULT)


async def test_a_range_outside_is_416_with_the_size(alice: Person, url: str) -> None:
    answer = await alice.http.get(url, headers={"Range": f"bytes={SIZE}-"})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_the_parts_of_two_requests_make_the_whole(alice: Person, url: str) -> None:
    first = await alice.http.get(url, headers={"Range": "bytes=0-4095"})
    rest = await alice.http.get(url, headers={"Range": "bytes=4096-", "If-Range": first.headers["ETag"]})
    assert rest.status_code == 206
    assert first.content + rest.content == RESULT


async def test_if_range_of_another_version_brings_the_whole(alice: Person, url: str) -> None:
    answer = await alice.http.get(url, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert (answer.status_code, answer.content) == (200, RESULT)


async def test_a_version_known_already_is_not_sent(alice: Person, url: str) -> None:
    etag = (await alice.http.head(url)).headers["ETag"]
    again = await alice.http.get(url, headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)


async def test_head_says_what_get_would(alice: Person, url: str) -> None:
    head, get = await alice.http.head(url), await alice.http.get(url)
    assert head.status_code == 200
    assert head.content == b""
    same = ["Content-Length", "Content-Type", "Content-Disposition", "ETag", "Accept-Ranges", "X-Content-Type-Options"]
    assert [head.headers[name] for name in same] == [get.headers[name] for name in same]
    assert get.headers["X-Content-Type-Options"] == "nosniff"
    assert get.headers["Accept-Ranges"] == "bytes"
    part = await alice.http.head(url, headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.headers["Content-Length"]) == (206, "10")


async def test_a_result_is_chosen_by_name(alice: Person, url: str) -> None:
    subtitles = await alice.http.get(url, params={"artifact": "source.srt"})
    assert subtitles.content == SUBTITLES
    assert subtitles.headers["Content-Type"] == "application/x-subrip"
    missing = await alice.http.get(url, params={"artifact": "../dub.mp4"})
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


async def test_a_name_in_any_script_survives(alice: Person, runtime: Runtime) -> None:
    upload = await upload_video(alice, "Ação — 講演.mp4")
    job = await create_job(alice, upload["id"])
    await alice.http.post(f"/api/v1/jobs/{job['id']}/process")
    await ScriptedWorker(runtime).play(job["id"])
    answer = await alice.http.get(f"/api/v1/jobs/{job['id']}/download")
    assert unquote(answer.headers["Content-Disposition"].rsplit("UTF-8''", 1)[1]) == "Ação — 講演.pt.mp4"


async def test_a_client_that_stops_reading_is_given_up(
    alice: Person, address: str, runtime: Runtime, new_job: NewJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = asyncio.Event()

    class Log:
        def info(self, event: str, **_: object) -> None:
            if event == "client_too_slow":
                given_up.set()

    monkeypatch.setattr(api.correlation, "log", Log())
    monkeypatch.setattr(api.correlation, "SEND_DEADLINE_S", 0.2)
    worker = ScriptedWorker(runtime)
    job = await new_job(submit=True)
    await worker.take(job["id"])
    await worker.complete(dub=bytes(64 * 1024 * 1024))
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rsplit(":", 1)[1]))
    writer.write(
        f"GET /api/v1/jobs/{job['id']}/download HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {alice.token}\r\n\r\n".encode()
    )
    async with asyncio.timeout(60):
        await given_up.wait()
    received = 0
    while piece := await reader.read(1 << 20):
        received += len(piece)
    writer.close()
    assert 0 < received < 64 * 1024 * 1024
    assert (await alice.http.get(f"/api/v1/jobs/{job['id']}")).status_code == 200


async def test_before_the_end_there_is_nothing_to_download(alice: Person, new_job: NewJob) -> None:
    job = await new_job()
    answer = await alice.http.get(f"/api/v1/jobs/{job['id']}/download")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
