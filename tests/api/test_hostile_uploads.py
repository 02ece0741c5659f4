"""Hostile and malformed files through the door itself: each ends in a typed refusal with a sentence.

Nothing outside the upload is read, no connection is opened, and nothing is left behind.
"""

import asyncio
import io
import struct
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from octavia_stream.runtime import Runtime
from tests.api.api_process import wav_header
from tests.api.conftest import DATA, Person

pytestmark = pytest.mark.services

SECRET = "only-the-server-may-read-this"
CODES = {"media_rejected", "media_too_large", "subtitles_rejected", "no_speech", "invalid_request"}


class Trap:
    """A server inside the network that nobody must ever ask."""

    def __init__(self, port: int, secret: Path) -> None:
        self.port = port
        self.secret = secret
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/canary.ts"


@pytest.fixture
async def trap(tmp_path: Path) -> AsyncIterator[Trap]:
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)

    async def touched(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caught.connections += 1
        writer.close()

    async with await asyncio.start_server(touched, "127.0.0.1", 0) as listener:
        caught = Trap(listener.sockets[0].getsockname()[1], secret)
        yield caught


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this process and its children put temporary files: as empty afterwards as before."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    monkeypatch.setenv("TMPDIR", str(directory))
    yield directory
    assert list(directory.iterdir()) == []


async def stored(runtime: Runtime) -> set[str]:
    parts = {found.key async for found in runtime.objects.list("uploads")}
    directory = runtime.objects.local_path("uploads")
    assert directory is not None
    return parts | {path.name for path in directory.glob("*#*")}


async def refused(somebody: Person, runtime: Runtime, file_type: str, name: str, content: bytes) -> str:
    """Bring a file and see it refused; returns the sentence."""
    before = await stored(runtime)
    answer = await somebody.http.post(f"/api/v1/upload?file_type={file_type}", files={"file": (name, content)})
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:500])
    problem = answer.json()
    assert problem["code"] in CODES
    sentence: str = problem["detail"]
    assert sentence.endswith(".")
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text
    assert await stored(runtime) == before
    return sentence


@pytest.mark.parametrize("path", sorted((DATA / "malformed").iterdir()), ids=lambda path: path.name)
async def test_a_malformed_file_is_taken_or_refused_whatever_it_is_said_to_be(
    alice: Person, runtime: Runtime, path: Path
) -> None:
    content = await asyncio.to_thread(path.read_bytes)
    for file_type in ("video", "audio", "subtitle"):
        answer = await alice.http.post(f"/api/v1/upload?file_type={file_type}", files={"file": (path.name, content)})
        if answer.status_code == 201:
            # Damaged, and of use all the same.
            assert file_type != "subtitle"
            await alice.http.delete(f"/api/v1/uploads/{answer.json()['id']}")
            continue
        assert answer.status_code in {413, 422}, (file_type, answer.text)
        assert answer.json()["code"] in CODES
        assert answer.json()["detail"].endswith(".")
    assert await stored(runtime) == set()


PLAYLISTS: dict[str, Callable[[Trap], str]] = {
    "a.m3u8": lambda trap: f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{trap.url}\n#EXT-X-ENDLIST\n",
    "b.m3u8": lambda trap: f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{trap.secret}\n#EXT-X-ENDLIST\n",
    "c.m3u8": lambda trap: f"#EXTM3U\n#EXTINF:1,\nconcat:{trap.url}|{trap.secret}\n#EXT-X-ENDLIST\n",
    "d.ffconcat": lambda trap: f"ffconcat version 1.0\nfile '{trap.secret}'\nfile '{trap.url}'\n",
    "e.mpd": lambda trap: (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        f'<Representation id="1" bandwidth="1"><BaseURL>{trap.url}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    ),
    "f.sdp": lambda trap: (
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {trap.port} RTP/AVP 0\n"
    ),
    "g.asx": lambda trap: f'<asx version="3.0"><entry><ref href="{trap.url}"/></entry></asx>',
    "h.pls": lambda trap: f"[playlist]\nNumberOfEntries=1\nFile1={trap.url}\n",
    "i.svg": lambda trap: f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{trap.url}"/></svg>',
}


@pytest.mark.parametrize("name", PLAYLISTS)
async def test_what_names_other_files_opens_none(alice: Person, runtime: Runtime, trap: Trap, name: str) -> None:
    content = PLAYLISTS[name](trap).encode()
    for called in (name, "talk.mp4"):
        await refused(alice, runtime, "video", called, content)
    await refused(alice, runtime, "subtitle", name, content)
    assert trap.connections == 0


async def test_a_subtitle_file_cannot_ask_for_more_than_itself(alice: Person, runtime: Runtime, trap: Trap) -> None:
    body = '<body><div><p begin="0s" end="1s">&x;</p></div></body></tt>'
    head = '<tt xmlns="http://www.w3.org/ns/ttml" xml:lang="en">'
    laughs = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    for declared in (
        f'<!ENTITY x SYSTEM "file://{trap.secret}">',
        f'<!ENTITY x SYSTEM "{trap.url}">',
        laughs + '<!ENTITY x "&a11;">',
    ):
        content = f'<?xml version="1.0"?><!DOCTYPE tt [{declared}]>{head}{body}'.encode()
        await refused(alice, runtime, "subtitle", "a.ttml", content)
    assert trap.connections == 0


async def test_a_million_cues_are_too_many(alice: Person, runtime: Runtime) -> None:
    cues = b"".join(b"%d\n00:00:00,000 --> 00:00:01,000\nx\n\n" % n for n in range(1_000_000))
    await refused(alice, runtime, "subtitle", "million.srt", cues)
    await refused(alice, runtime, "video", "million.mp4", cues[:5_000_000])


def days_of_sound() -> bytes:
    """A small file whose packets lie three days apart."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        for start_s in (0, 3 * 86_400):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
            frame.sample_rate = 8000
            frame.pts = start_s * 8000
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def huge_picture() -> bytes:
    """A film whose container says that it has 30,000 × 30,000 pixels."""
    film = (DATA / "video" / "friday.mp4").read_bytes()
    # Width and height of the sample entry (ISO/IEC 14496-12, 12.1.3).
    entry = film.find(b"avc1", film.find(b"stsd"))
    changed = bytearray(film)
    struct.pack_into(">HH", changed, entry + 28, 30_000, 30_000)
    return bytes(changed)


async def test_what_unpacks_to_days_is_too_long(alice: Person, runtime: Runtime) -> None:
    content = await asyncio.to_thread(days_of_sound)
    assert len(content) < 100_000
    assert "long" in await refused(alice, runtime, "audio", "days.mkv", content)


async def test_lengths_that_lie_ask_for_no_memory(alice: Person, runtime: Runtime) -> None:
    """What the file claims to hold it does not; what is there is sound, or it is refused."""
    # Hours are announced and a hundredth of a second is there: that is what counts.
    for claim in (0xFFFF_FF00, 0xC000_0000):
        answer = await alice.http.post(
            "/api/v1/upload?file_type=audio", files={"file": ("lying.wav", wav_header(claim) + bytes(2000))}
        )
        assert answer.status_code == 201, answer.text
        assert answer.json()["duration_s"] < 1
        await alice.http.delete(f"/api/v1/uploads/{answer.json()['id']}")
    for claim in (0x7FFF_FFFF, 0xFFFF_FFFF, 1, 0):
        atom = struct.pack(">I4s", 20, b"ftyp") + b"isom\0\0\0\0isom" + struct.pack(">I4s", claim, b"moov") + bytes(64)
        await refused(alice, runtime, "video", "lying.mp4", atom)
    header = b"\x1a\x45\xdf\xa3" + b"\x01" + b"\xff" * 7 + bytes(64)
    await refused(alice, runtime, "video", "lying.mkv", header)
    before = await stored(runtime)
    answer = await alice.http.post(
        "/api/v1/upload?file_type=video", files={"file": ("huge.mp4", await asyncio.to_thread(huge_picture))}
    )
    # What the codec itself says may win over the container's claim.
    assert answer.status_code in {201, 413, 422}, answer.text
    if answer.status_code == 201:
        await alice.http.delete(f"/api/v1/uploads/{answer.json()['id']}")
    assert await stored(runtime) == before
