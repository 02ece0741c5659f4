"""The header `Forwarded`: who is believed, and which of the addresses in it is the client's."""

from typing import Any

import pytest

from api.proxies import Forwarded

PROXY = "10.0.0.5"


async def seen(header: str | None, peer: str = PROXY, kind: str = "http") -> tuple[str, str]:
    """The client's address and the scheme as the application sees them."""
    told: dict[str, Any] = {}

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        told.update(scope)

    headers = [] if header is None else [(b"forwarded", header.encode())]
    scope: Any = {
        "type": kind,
        "client": (peer, 1234),
        "headers": headers,
        "scheme": "http" if kind == "http" else "ws",
    }
    await Forwarded(app, ("10.0.0.0/8", "2001:db8:ffff::/48"))(scope, None, None)  # type: ignore[arg-type]
    return told["client"][0], told["scheme"]


@pytest.mark.parametrize(
    ("header", "address", "scheme"),
    [
        ("for=203.0.113.7", "203.0.113.7", "http"),
        ("For=203.0.113.7;proto=https", "203.0.113.7", "https"),
        ('for="203.0.113.7:4711";proto=HTTPS;by=10.0.0.5', "203.0.113.7", "https"),
        ('for="[2001:db8::17]:4711"', "2001:db8::17", "http"),
        # What the client wrote itself stands to the left.
        ("for=198.51.100.1;proto=https, for=203.0.113.7", "203.0.113.7", "http"),
        ("for=203.0.113.7;proto=https, for=10.1.2.3", "203.0.113.7", "https"),
        ('for="198.51.100.1, for=10.9.9.9", for=203.0.113.7', "203.0.113.7", "http"),
        # All of them are ours: the farthest.
        ("for=10.9.9.9, for=10.1.2.3", "10.9.9.9", "http"),
        # Who hides, or is no address, stays the proxy.
        ("for=unknown", PROXY, "http"),
        ("for=203.0.113.7, for=_hidden", PROXY, "http"),
        ("nonsense", PROXY, "http"),
        ("", PROXY, "http"),
        (None, PROXY, "http"),
    ],
)
async def test_the_client_is_the_last_that_is_no_proxy_of_ours(header: str | None, address: str, scheme: str) -> None:
    assert await seen(header) == (address, scheme)


async def test_whoever_is_no_proxy_of_ours_is_not_believed() -> None:
    assert await seen("for=203.0.113.7;proto=https", peer="198.51.100.9") == ("198.51.100.9", "http")


async def test_a_socket_keeps_its_kind_of_scheme() -> None:
    assert await seen("for=203.0.113.7;proto=https", kind="websocket") == ("203.0.113.7", "wss")
