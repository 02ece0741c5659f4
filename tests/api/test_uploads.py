"""Files on their way in: what is kept, what is refused, and what is left behind (nothing)."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from litestar import Litestar

from api.app import create_app
from octavia_stream.config import Settings
from octavia_stream.runtime import Runtime
from tests.api.conftest import DATA, VIDEO, Person, eventually, person, serving

pytestmark = pytest.mark.services

AUDIO = DATA / "speech" / "en" / "jfk.flac"


async def stored(runtime: Runtime) -> set[str]:
    return {found.key async for found in runtime.objects.list("uploads")}


async def in_pieces(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_a_form_and_a_raw_body_bring_the_same_file(alice: Person, runtime: Runtime) -> None:
    content = VIDEO.read_bytes()
    form = await alice.http.post("/api/v1/upload?file_type=video", files={"file": ("talk.mp4", content)})
    raw = await alice.http.post(
        "/api/v1/upload?file_type=video&filename=talk.mp4",
        content=in_pieces(content),
        headers={"Content-Type": "application/octet-stream"},
    )
    assert (form.status_code, raw.status_code) == (201, 201)
    digest = hashlib.sha256(content).hexdigest()
    for upload in (form.json(), raw.json()):
        assert (upload["filename"], upload["size"], upload["sha256"]) == ("talk.mp4", len(content), digest)
        assert upload["has_video"]
        assert upload["duration_s"] > 1
        assert upload["audio_tracks"][0]["channels"] >= 1
        assert upload["content_type"] == "video/mp4"
        assert await runtime.objects.get(f"uploads/{upload['id']}") == content


async def test_fields_of_a_form_beside_the_file_are_skipped(alice: Person) -> None:
    answer = await alice.http.post(
        "/api/v1/upload?file_type=audio",
        data={"note": "x" * 2000},
        files={"file": ("speech.flac", AUDIO.read_bytes())},
    )
    assert (answer.status_code, answer.json()["has_video"]) == (201, False)
    assert answer.json()["content_type"] == "audio/flac"


async def test_sound_without_a_picture_is_no_video(alice: Person, runtime: Runtime) -> None:
    before = await stored(runtime)
    answer = await alice.http.post("/api/v1/upload?file_type=video", files={"file": ("a.flac", AUDIO.read_bytes())})
    assert (answer.status_code, answer.json()["code"]) == (422, "media_rejected")
    assert "file_type=audio" in answer.json()["detail"]
    assert await stored(runtime) == before


@pytest.mark.parametrize("path", sorted((DATA / "malformed").iterdir()), ids=lambda path: path.name)
async def test_a_malformed_file_is_taken_or_refused_in_a_sentence(alice: Person, runtime: Runtime, path: Path) -> None:
    before = await stored(runtime)
    content = await asyncio.to_thread(path.read_bytes)
    answer = await alice.http.post("/api/v1/upload?file_type=audio", files={"file": (path.name, content)})
    if answer.status_code == 201:
        # Damaged, and still playable: it has sound.
        assert answer.json()["audio_tracks"]
        return
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["code"] in {"media_rejected", "no_speech"}
    assert problem["detail"].endswith(".")
    assert "/" not in problem["detail"]
    assert await stored(runtime) == before


@pytest.mark.parametrize("name", ["bad.wav", "null.wav", "invalid_header.ogg", "sample_missing_stsd.mp4"])
async def test_a_file_beyond_repair_is_refused(alice: Person, name: str) -> None:
    content = (DATA / "malformed" / name).read_bytes()
    answer = await alice.http.post("/api/v1/upload?file_type=audio", files={"file": (name, content)})
    assert answer.status_code == 422


async def test_text_is_no_media(alice: Person, runtime: Runtime) -> None:
    before = await stored(runtime)
    answer = await alice.http.post("/api/v1/upload?file_type=video", files={"file": ("a.mp4", b"#EXTM3U\n" * 100)})
    assert (answer.status_code, answer.json()["code"]) == (422, "media_rejected")
    assert await stored(runtime) == before


HOSTILE_NAMES = {
    "../../../../etc/passwd": "passwd",
    "..\\..\\windows\\system32\\cmd.exe": "cmd.exe",
    "/absolute/talk.mp4": "talk.mp4",
    "..": "upload",
    "a\x00b.mp4": "ab.mp4",
    "a\r\nSet-Cookie: x=1.mp4": None,
    "\u202egpj.exe": "gpj.exe",
    "Ação — 講演 🎬.mp4": "Ação — 講演 🎬.mp4",
    "x" * 255: None,
    "é" * 300 + ".mp4": None,
    '"; filename="evil.sh': None,
    "%2e%2e%2f": None,
    "CON": None,
    " . ": "upload",
}


@pytest.mark.parametrize(("name", "kept"), HOSTILE_NAMES.items(), ids=[ascii(name)[:30] for name in HOSTILE_NAMES])
async def test_a_hostile_name_is_only_a_label(alice: Person, runtime: Runtime, name: str, kept: str | None) -> None:
    before = await stored(runtime)
    answer = await alice.http.post(
        f"/api/v1/upload?file_type=audio&filename={quote(name)}",
        content=AUDIO.read_bytes(),
        headers={"Content-Type": "audio/flac"},
    )
    assert answer.status_code == 201, answer.text
    filename = answer.json()["filename"]
    assert kept is None or filename == kept
    assert 1 <= len(filename) <= 255
    assert not set(filename) & {"/", "\\", "\x00", "\r", "\n", "\u202e"}
    assert await stored(runtime) - before == {f"uploads/{answer.json()['id']}"}


async def test_a_hostile_name_in_a_form_is_only_a_label(alice: Person, runtime: Runtime) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="../../etc/\x01cron\xff.d"\r\n\r\n'
    answer = await alice.http.post(
        "/api/v1/upload?file_type=audio",
        content=head + AUDIO.read_bytes() + b"\r\n--b--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert answer.status_code in {201, 400}
    if answer.status_code == 201:
        assert "/" not in answer.json()["filename"]


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("text/plain", b"hello", 415),
        ("", b"hello", 415),
        ("multipart/form-data", b"hello", 400),
        ("multipart/form-data; boundary=b", b"hello", 400),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 400),
        ("application/octet-stream", b"", 400),
    ],
)
async def test_a_body_of_another_kind_is_refused(
    alice: Person, runtime: Runtime, content_type: str, body: bytes, status: int
) -> None:
    before = await stored(runtime)
    answer = await alice.http.post(
        "/api/v1/upload?file_type=video", content=body, headers={"Content-Type": content_type}
    )
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert await stored(runtime) == before


@pytest.mark.parametrize("query", ["", "?file_type=text", "?file_type="])
async def test_the_kind_of_file_must_be_said(alice: Person, query: str) -> None:
    answer = await alice.http.post(f"/api/v1/upload{query}", files={"file": ("a.mp4", b"x")})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.99])
async def test_an_upload_that_breaks_off_leaves_nothing(
    alice: Person, address: str, runtime: Runtime, cut: float
) -> None:
    before = await stored(runtime)
    content = VIDEO.read_bytes()
    _, writer = await asyncio.open_connection("127.0.0.1", int(address.rsplit(":", 1)[1]))
    writer.write(
        b"POST /api/v1/upload?file_type=video HTTP/1.1\r\nHost: localhost\r\n"
        + f"Authorization: Bearer {alice.token}\r\nContent-Length: {len(content)}\r\n".encode()
        + b"Content-Type: application/octet-stream\r\n\r\n"
        + content[: int(len(content) * cut)]
    )
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.close()
    directory = runtime.objects.local_path("uploads")
    assert directory is not None

    async def nothing_left() -> bool:
        # On the disk too: parts of an unfinished object are not listed.
        return {path.name for path in directory.iterdir()} == {key.removeprefix("uploads/") for key in before}

    await eventually(nothing_left, "what came of a broken upload is gone")
    assert await stored(runtime) == before


@pytest.fixture(scope="module")
async def small_door(settings: Settings) -> AsyncIterator[tuple[Litestar, Person]]:
    """A server that takes at most 100 kB."""
    small = settings.model_copy(update={"api": settings.api.model_copy(update={"max_upload_bytes": 100_000})})
    app = create_app(small)
    async with serving(app, small) as address, person(address) as dave:
        yield app, dave


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("size", [100_001, 3_000_000])
async def test_a_file_too_large_is_refused(
    small_door: tuple[Litestar, Person], runtime: Runtime, size: int, announced: bool
) -> None:
    before = await stored(runtime)
    _, dave = small_door
    answer = await dave.http.post(
        "/api/v1/upload?file_type=video",
        content=b"\0" * size if announced else in_pieces(b"\0" * size, 50_000),
        headers={"Content-Type": "application/octet-stream"},
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "media_too_large")
    assert await stored(runtime) == before
