"""Resumable uploads (tus 1.0), request by request."""

import asyncio
import base64
import hashlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from octavia_stream.runtime import Runtime
from tests.api.conftest import DATA, VIDEO, Person

pytestmark = pytest.mark.services

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}
CONTENT = VIDEO.read_bytes()
HALF = len(CONTENT) // 2


def metadata(**values: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


VIDEO_FILE = metadata(filename="talk.mp4", file_type="video")


async def begin(
    somebody: Person, size: int = len(CONTENT), named: str = VIDEO_FILE, content: bytes | None = None, **more: str
) -> httpx.Response:
    headers = {**(TUS if content is None else PIECE), "Upload-Length": str(size), "Upload-Metadata": named, **more}
    return await somebody.http.post("/api/v1/tus", headers=headers, content=content)


async def begun(somebody: Person, size: int = len(CONTENT), named: str = VIDEO_FILE) -> str:
    """The address of a new upload."""
    answer = await begin(somebody, size, named)
    assert answer.status_code == 201, answer.text
    location: str = answer.headers["location"]
    return location


async def send(somebody: Person, location: str, offset: int, content: Any, **more: str) -> httpx.Response:
    headers = {**PIECE, "Upload-Offset": str(offset), **more}
    return await somebody.http.patch(location, headers=headers, content=content)


async def offset_of(somebody: Person, location: str) -> int:
    answer = await somebody.http.head(location, headers=TUS)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


async def pieces(runtime: Runtime) -> set[str]:
    return {found.key async for found in runtime.objects.list("tus")}


def id_in(location: str) -> str:
    return location.rpartition("/")[2]


async def test_the_server_says_what_it_can_do(anyone: httpx.AsyncClient) -> None:
    answer = await anyone.options("/api/v1/tus")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert set(answer.headers["tus-extension"].split(",")) >= {"creation", "expiration", "termination", "checksum"}
    assert int(answer.headers["tus-max-size"]) > 0
    assert "sha1" in answer.headers["tus-checksum-algorithm"].split(",")


async def test_a_file_in_two_pieces_becomes_an_upload(alice: Person, runtime: Runtime) -> None:
    before = await pieces(runtime)
    location = await begun(alice)
    assert await offset_of(alice, location) == 0
    # Until it is whole it is no upload.
    assert (await alice.http.get(f"/api/v1/uploads/{id_in(location)}")).status_code == 404
    first = await send(alice, location, 0, CONTENT[:HALF])
    assert (first.status_code, first.headers["upload-offset"]) == (204, str(HALF))
    assert parsedate_to_datetime(first.headers["upload-expires"]) > datetime.now(UTC)
    last = await send(alice, location, HALF, CONTENT[HALF:])
    assert (last.status_code, last.headers["upload-offset"]) == (204, str(len(CONTENT)))
    upload = (await alice.http.get(f"/api/v1/uploads/{id_in(location)}")).json()
    assert (upload["filename"], upload["size"]) == ("talk.mp4", len(CONTENT))
    assert upload["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert upload["has_video"]
    assert await offset_of(alice, location) == len(CONTENT)
    assert await pieces(runtime) == before
    # The last answer may have been lost: saying it again does no harm.
    again = await send(alice, location, len(CONTENT), b"")
    assert again.status_code == 204
    job = await alice.http.post(
        "/api/v1/jobs/video-translate/create", json={"upload_id": upload["id"], "target_language": "pt"}
    )
    assert job.status_code == 201


async def test_the_first_piece_may_come_with_the_beginning(alice: Person) -> None:
    answer = await begin(alice, content=CONTENT[:HALF])
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, str(HALF))
    assert await offset_of(alice, answer.headers["location"]) == HALF
    whole = await begin(alice, content=CONTENT)
    assert (whole.status_code, whole.headers["upload-offset"]) == (201, str(len(CONTENT)))
    upload = await alice.http.get(f"/api/v1/uploads/{id_in(whole.headers['location'])}")
    assert upload.status_code == 200


async def test_a_piece_that_belongs_elsewhere_changes_nothing(alice: Person, runtime: Runtime) -> None:
    location = await begun(alice)
    await send(alice, location, 0, CONTENT[:100])
    before = await pieces(runtime)
    for offset in (0, 50, 101, len(CONTENT)):
        answer = await send(alice, location, offset, CONTENT[:10])
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert answer.headers["tus-resumable"] == "1.0.0"
    assert await offset_of(alice, location) == 100
    assert await pieces(runtime) == before


async def test_two_who_add_at_once_do_not_mix(alice: Person, runtime: Runtime) -> None:
    location = await begun(alice)
    answers = await asyncio.gather(*(send(alice, location, 0, CONTENT[: 1000 + n]) for n in range(6)))
    taken = [answer for answer in answers if answer.status_code == 204]
    assert len(taken) == 1
    assert {answer.status_code for answer in answers} == {204, 409}
    offset = await offset_of(alice, location)
    assert offset == int(taken[0].headers["upload-offset"])
    assert (await send(alice, location, offset, CONTENT[offset:])).status_code == 204
    upload = (await alice.http.get(f"/api/v1/uploads/{id_in(location)}")).json()
    assert upload["sha256"] == hashlib.sha256(CONTENT).hexdigest()


async def test_what_came_before_a_client_broke_off_is_kept(alice: Person) -> None:
    class Gone(Exception):
        pass

    async def breaking() -> Any:
        yield CONTENT[:HALF]
        raise Gone

    location = await begun(alice)
    with pytest.raises(Gone):
        await send(alice, location, 0, breaking())
    async with asyncio.timeout(30):
        while await offset_of(alice, location) < HALF:  # noqa: ASYNC110  (the server notices by itself)
            await asyncio.sleep(0.02)
    assert (await send(alice, location, HALF, CONTENT[HALF:])).status_code == 204


async def test_a_checksum_makes_a_piece_all_or_nothing(alice: Person, runtime: Runtime) -> None:
    location = await begun(alice)
    before = await pieces(runtime)
    for algorithm in ("sha1", "sha256"):
        wrong = base64.b64encode(hashlib.new(algorithm, b"other").digest()).decode()
        answer = await send(alice, location, 0, CONTENT[:HALF], **{"Upload-Checksum": f"{algorithm} {wrong}"})
        assert (answer.status_code, answer.json()["code"]) == (460, "checksum_mismatch")
    assert await offset_of(alice, location) == 0
    assert await pieces(runtime) == before
    for bad in ("md5 AAAA", "sha1", "sha1 ***", ""):
        assert (await send(alice, location, 0, b"x", **{"Upload-Checksum": bad})).status_code == 400
    right = base64.b64encode(hashlib.sha1(CONTENT, usedforsecurity=False).digest()).decode()
    assert (await send(alice, location, 0, CONTENT, **{"Upload-Checksum": f"sha1 {right}"})).status_code == 204


async def test_what_is_given_up_leaves_nothing(alice: Person, runtime: Runtime) -> None:
    before = await pieces(runtime)
    location = await begun(alice)
    await send(alice, location, 0, CONTENT[:HALF])
    assert await pieces(runtime) != before
    assert (await alice.http.delete(location, headers=TUS)).status_code == 204
    assert (await alice.http.head(location, headers=TUS)).status_code == 404
    assert (await send(alice, location, HALF, CONTENT[HALF:])).status_code == 404
    assert await pieces(runtime) == before


async def test_a_whole_upload_can_be_given_up_too(alice: Person) -> None:
    answer = await begin(alice, content=CONTENT)
    location = answer.headers["location"]
    assert (await alice.http.delete(location, headers=TUS)).status_code == 204
    assert (await alice.http.get(f"/api/v1/uploads/{id_in(location)}")).status_code == 404


async def test_a_client_that_can_only_post_says_what_it_means(alice: Person) -> None:
    location = await begun(alice)
    answer = await alice.http.post(
        location, headers={**PIECE, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}, content=CONTENT[:10]
    )
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, "10")
    assert (await alice.http.post(location, headers=TUS)).status_code == 400
    answer = await alice.http.post(location, headers={**TUS, "X-HTTP-Method-Override": "DELETE"})
    assert answer.status_code == 204
    assert (await alice.http.head(location, headers=TUS)).status_code == 404


async def test_a_file_of_no_use_is_refused_in_a_sentence_and_stays_refused(alice: Person, runtime: Runtime) -> None:
    before = await pieces(runtime)
    location = await begun(alice, 8 * 1000)
    answer = await send(alice, location, 0, b"#EXTM3U\n" * 1000)
    assert (answer.status_code, answer.json()["code"]) == (422, "media_rejected")
    assert answer.json()["detail"].endswith(".")
    again = await send(alice, location, 8 * 1000, b"")
    assert (again.status_code, again.json()["detail"]) == (422, answer.json()["detail"])
    assert (await alice.http.head(location, headers=TUS)).status_code == 422
    assert await pieces(runtime) == before
    assert not await runtime.objects.exists(f"uploads/{id_in(location)}")
    sound = (DATA / "speech" / "en" / "jfk.flac").read_bytes()
    location = await begun(alice, len(sound))
    assert (await send(alice, location, 0, sound)).status_code == 422  # no picture


async def test_subtitles_come_in_pieces_too(alice: Person) -> None:
    text = "1\n00:00:00,000 --> 00:00:01,000\nOlá\n".encode()
    location = await begun(alice, len(text), metadata(filename="a.srt", file_type="subtitle"))
    assert (await send(alice, location, 0, text)).status_code == 204
    upload = (await alice.http.get(f"/api/v1/uploads/{id_in(location)}")).json()
    assert upload["subtitles"]["cues"] == 1


async def test_what_is_not_tus_is_told_so(alice: Person) -> None:
    location = await begun(alice)
    for answer in (
        await alice.http.post("/api/v1/tus", headers={"Upload-Length": "5", "Upload-Metadata": VIDEO_FILE}),
        await alice.http.head(location),
        await alice.http.patch(location, headers={**PIECE, "Upload-Offset": "0", "Tus-Resumable": "0.2.2"}),
    ):
        assert (answer.status_code, answer.headers["tus-version"]) == (412, "1.0.0")
    wrong_type = await alice.http.patch(location, headers={**TUS, "Upload-Offset": "0", "Content-Type": "text/plain"})
    assert wrong_type.status_code == 415
    assert (await alice.http.patch(location, headers=PIECE, content=b"x")).status_code == 400


@pytest.mark.parametrize(
    ("size", "named", "status"),
    [
        (0, VIDEO_FILE, 400),
        (-1, VIDEO_FILE, 400),
        (10**15, VIDEO_FILE, 413),
        (100_000_000, metadata(file_type="subtitle"), 413),
        (10, metadata(filename="a.mp4"), 400),
        (10, metadata(file_type="program"), 400),
        (10, "filename ***", 400),
        (10, metadata(filename="x" * 5000, file_type="video"), 400),
    ],
)
async def test_what_could_never_be_taken_is_refused_before_it_comes(
    alice: Person, size: int, named: str, status: int
) -> None:
    answer = await begin(alice, size, named)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"].endswith(".")


async def test_a_media_type_says_what_kind_of_file_it_is(alice: Person) -> None:
    answer = await begin(alice, named=metadata(filename="talk.mp4", filetype="video/mp4"))
    assert answer.status_code == 201


async def test_more_than_was_announced_is_not_taken(alice: Person, runtime: Runtime) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b"x" * 65_536

    before = await pieces(runtime)
    location = await begun(alice, 1000)
    assert (await send(alice, location, 0, b"x" * 1001)).status_code == 400
    assert await offset_of(alice, location) == 0
    assert (await send(alice, location, 0, chunks())).status_code == 400
    assert await offset_of(alice, location) == 0
    assert await pieces(runtime) == before


async def test_another_s_upload_does_not_exist(alice: Person, bob: Person) -> None:
    location = await begun(alice)
    await send(alice, location, 0, CONTENT[:10])
    for method in ("HEAD", "PATCH", "DELETE", "POST"):
        headers = {**PIECE, "Upload-Offset": "10", "X-HTTP-Method-Override": "PATCH"}
        answer = await bob.http.request(method, location, headers=headers, content=CONTENT[10:])
        assert answer.status_code == 404, method
    assert await offset_of(alice, location) == 10
    missing = f"/api/v1/tus/{uuid4()}"
    assert (await alice.http.head(missing, headers=TUS)).status_code == 404


async def test_an_upload_whose_time_is_over_is_gone(alice: Person, runtime: Runtime) -> None:
    location = await begun(alice)
    await send(alice, location, 0, CONTENT[:10])
    await runtime.pool.execute(
        "update resumable_upload set expires_at = now() - interval '1 second' where id = $1::uuid", id_in(location)
    )
    assert (await alice.http.head(location, headers=TUS)).status_code == 404
    assert (await send(alice, location, 10, CONTENT[10:])).status_code == 404


async def test_whoever_was_killed_while_putting_it_together_is_succeeded(alice: Person, runtime: Runtime) -> None:
    """All bytes are there, the process that looked at them is not, and nobody else has begun."""
    location = await begun(alice)
    await runtime.pool.execute("update resumable_upload set size = size + 1 where id = $1::uuid", id_in(location))
    await send(alice, location, 0, CONTENT)
    await runtime.pool.execute(
        "update resumable_upload set size = received, finishing_until = now() + interval '1 second' "
        "where id = $1::uuid",
        id_in(location),
    )
    offsets = await asyncio.gather(*(offset_of(alice, location) for _ in range(3)))
    assert offsets == [len(CONTENT)] * 3
    upload = (await alice.http.get(f"/api/v1/uploads/{id_in(location)}")).json()
    assert upload["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    keys = [found.key async for found in runtime.objects.list("uploads") if id_in(location) in found.key]
    assert len(keys) == 1
