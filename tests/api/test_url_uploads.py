"""Files that the server fetches: what is taken, and whom it never asks."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_network

import httpx
import pytest

from api.app import create_app
from octavia_stream.config import OutboundSettings, Settings
from octavia_stream.runtime import Runtime
from tests.api.conftest import VIDEO, Person, person, serving

pytestmark = pytest.mark.services

CONTENT = VIDEO.read_bytes()
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Elsewhere:
    """Somebody else's server. It answers what a test says, and counts who connects."""

    def __init__(self) -> None:
        self.connections = 0
        self.answers: dict[str, bytes] = {}
        self.port = 0
        self.stall = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        writer.write(self.answers.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
        await writer.drain()
        if path == "/stalls":
            await self.stall.wait()
        writer.close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    server = Elsewhere()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listener:
        server.port = listener.sockets[0].getsockname()[1]
        yield server
        server.stall.set()


def file_answer(content: bytes, *headers: str, length: int | None = None) -> bytes:
    said = len(content) if length is None else length
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {said}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


@pytest.fixture(scope="module")
async def fetching(settings: Settings) -> AsyncIterator[str]:
    """A server that fetches, also from the one address where this test's own server is."""
    outbound = OutboundSettings(
        fetch_uploads=True, allowed_networks=(ip_network("127.0.0.1/32"),), fetch_s=3, max_redirects=3
    )
    changed = settings.model_copy(update={"outbound": outbound})
    async with serving(create_app(changed), changed) as address:
        yield address


@pytest.fixture(scope="module")
async def carol(fetching: str) -> AsyncIterator[Person]:
    async with person(fetching) as somebody:
        yield somebody


async def fetch(somebody: Person, url: str, file_type: str = "video", **more: str) -> httpx.Response:
    return await somebody.http.post("/api/v1/upload/url", json={"url": url, "file_type": file_type, **more})


async def stored(runtime: Runtime) -> set[str]:
    return {found.key async for found in runtime.objects.list("uploads")}


async def test_a_file_is_fetched_and_called_as_its_server_calls_it(carol: Person, elsewhere: Elsewhere) -> None:
    elsewhere.answers["/a%20talk.mp4"] = file_answer(CONTENT)
    elsewhere.answers["/x"] = file_answer(CONTENT, 'Content-Disposition: attachment; filename="../named.mp4"')
    elsewhere.answers["/moved"] = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"
    plain = await fetch(carol, elsewhere.url("/a%20talk.mp4"))
    assert plain.status_code == 201, plain.text
    assert plain.json()["filename"] == "a talk.mp4"
    assert plain.json()["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert (await fetch(carol, elsewhere.url("/moved"))).json()["filename"] == "named.mp4"
    assert (await fetch(carol, elsewhere.url("/x"), filename="mine.mp4")).json()["filename"] == "mine.mp4"


async def test_a_server_fetches_nothing_unless_it_is_told_to(alice: Person, elsewhere: Elsewhere) -> None:
    answer = await fetch(alice, elsewhere.url("/a.mp4"))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert elsewhere.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.2]:{port}/",
        "http://2130706434:{port}/",
        "http://0.0.0.0:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "file:///etc/passwd",
        "ftp://127.0.0.1:{port}/a",
        "http://user:pass@127.0.0.1:{port}/a",
    ],
)
async def test_the_inside_is_never_asked(carol: Person, elsewhere: Elsewhere, runtime: Runtime, url: str) -> None:
    before = await stored(runtime)
    answer = await fetch(carol, url.format(port=elsewhere.port))
    assert (answer.status_code, answer.json()["code"]) == (422, "address_refused")
    assert answer.json()["detail"].endswith(".")
    for to in ("http://169.254.169.254/", "http://127.0.0.2:1/", "file:///etc/passwd", "/round"):
        elsewhere.answers["/round"] = f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()
        answer = await fetch(carol, elsewhere.url("/round"))
        assert (answer.status_code, answer.json()["code"]) == (422, "address_refused"), to
    assert await stored(runtime) == before


async def test_what_is_no_file_of_use_is_refused_and_not_kept(
    carol: Person, elsewhere: Elsewhere, runtime: Runtime
) -> None:
    before = await stored(runtime)
    refused = {
        "/none": (b"", 422, "media_rejected"),
        "/page": (file_answer(b"<html>", "Content-Type: text/html; charset=utf-8"), 422, "media_rejected"),
        "/packed": (file_answer(CONTENT, "Content-Encoding: gzip"), 422, "media_rejected"),
        "/huge": (file_answer(b"x", length=10**15), 413, "media_too_large"),
        "/noise": (file_answer(b"noise" * 1000), 422, "media_rejected"),
        "/empty": (file_answer(b""), 400, "invalid_request"),
        "/breaks-off": (file_answer(CONTENT[:5000], length=len(CONTENT)), 422, "source_unavailable"),
        "/stalls": (file_answer(CONTENT[:5000], length=len(CONTENT)), 422, "media_rejected"),
        "/playlist": (file_answer(b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/a.ts\n"), 422, "media_rejected"),
    }
    for path, (content, status, code) in refused.items():
        if content:
            elsewhere.answers[path] = content
        answer = await fetch(carol, elsewhere.url(path))
        assert (answer.status_code, answer.json()["code"]) == (status, code), path
        assert answer.json()["detail"].endswith(".")
    closed = elsewhere.url("/").replace(str(elsewhere.port), "9")
    answer = await fetch(carol, closed)
    assert (answer.status_code, answer.json()["code"]) == (422, "source_unavailable")
    assert await stored(runtime) == before
