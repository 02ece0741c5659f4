"""Requests to addresses that users name stay outside."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network

import httpx
import pytest

from octavia_stream.config import OutboundSettings
from octavia_stream.errors import AddressRefused
from octavia_stream.net.guarded_http import Guard, check_url, guarded_client

LOOPBACK = OutboundSettings(allowed_networks=(ip_network("127.0.0.0/8"),))
INSIDE = [
    "0.0.0.0",  # noqa: S104  (what is refused)
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


class Server:
    """Answers what it is told to, and counts who connects."""

    def __init__(self) -> None:
        self.connections = 0
        self.answers: dict[str, bytes] = {}
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        writer.write(self.answers.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Server]:
    server = Server()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listener:
        server.port = listener.sockets[0].getsockname()[1]
        yield server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with listening() as running:
        yield running


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_are_not_allowed(address: str) -> None:
    assert not Guard().allows(ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert Guard().allows(ip_address(address))


def test_networks_may_be_allowed_by_name() -> None:
    guard = Guard((ip_network("10.1.0.0/16"),))
    assert guard.allows(ip_address("10.1.2.3"))
    assert guard.allows(ip_address("::ffff:10.1.2.3"))
    assert not guard.allows(ip_address("10.2.0.1"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_no_connection_is_opened_to_the_inside(server: Server, host: str) -> None:
    async with guarded_client(OutboundSettings(), timeout_s=5) as client:
        with pytest.raises((AddressRefused, httpx.ConnectError)) as refusal:
            await client.get(f"http://{host}:{server.port}/")
    assert server.connections == 0
    # Only a resolver that does not know the odd forms at all may say so instead.
    assert isinstance(refusal.value, AddressRefused) or host[0] in "0[2"


async def test_a_name_with_one_address_inside_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: str, port: int, *_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("8.8.8.8", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with guarded_client(OutboundSettings(), timeout_s=5) as client:
        with pytest.raises(AddressRefused):
            await client.get(f"http://mixed.example:{server.port}/")
    assert server.connections == 0


async def test_the_connection_goes_to_the_address_that_was_judged(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers differently the second time (DNS rebinding) is asked once."""
    asked: list[str] = []

    def look_up(host: str, port: int, *_: object, **__: object) -> list[object]:
        if host == "127.0.0.1":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    server.answers["/a"] = ok(b"here")
    async with guarded_client(LOOPBACK, timeout_s=5) as client:
        answer = await client.get(f"http://rebinding.example:{server.port}/a")
    assert answer.content == b"here"
    assert asked == ["rebinding.example"]


async def test_redirects_are_judged_too(server: Server) -> None:
    """The first address is allowed; where it points to is not."""
    async with listening() as inside:
        only_server = OutboundSettings(allowed_networks=(ip_network("127.0.0.1/32"),))
        server.answers["/out"] = redirect("http://169.254.169.254/latest/meta-data/")
        server.answers["/in"] = redirect(f"http://[::1]:{inside.port}/")
        async with guarded_client(only_server, timeout_s=5, max_redirects=3) as client:
            for path in ("/out", "/in"):
                with pytest.raises(AddressRefused):
                    await client.get(f"http://127.0.0.1:{server.port}{path}")
        assert inside.connections == 0


async def test_redirects_are_bounded_and_may_be_left_alone(server: Server) -> None:
    server.answers["/round"] = redirect("/round")
    server.answers["/file"] = redirect("file:///etc/passwd")
    url = f"http://127.0.0.1:{server.port}"
    async with guarded_client(LOOPBACK, timeout_s=5, max_redirects=3) as client:
        with pytest.raises(httpx.TooManyRedirects):
            await client.get(f"{url}/round")
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get(f"{url}/file")
    assert server.connections == 5
    async with guarded_client(LOOPBACK, timeout_s=5) as client:
        assert (await client.get(f"{url}/round")).status_code == 302


async def test_proxies_of_the_environment_are_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    server.answers["/a"] = ok(b"direct")
    async with guarded_client(LOOPBACK, timeout_s=5) as client:
        assert (await client.get(f"http://127.0.0.1:{server.port}/a")).content == b"direct"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/a",
        "file:///etc/passwd",
        "gopher://example.org/",
        "//example.org/a",
        "http://",
        "http://user:secret@example.org/",
        "http://example.org:99999/",
        "http://[::1",
        "http://example.org/\r\nHost: x",
        "http://127.0.0.1/",
        "http://0177.0.0.1/",
        "http://[::ffff:10.0.0.1]/",
        "http://example.org/" + "a" * 3000,
    ],
)
def test_what_no_request_could_do_is_refused_early(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(url, OutboundSettings())


def test_ordinary_urls_are_let_through() -> None:
    for url in ("https://example.org/talk.mp4?x=1", "http://example.org:8080/a", "http://[2606:4700::1]/"):
        assert check_url(url, OutboundSettings()) == url
