"""The header `Forwarded` (RFC 7239): who the client is, as proxies of ours tell it.

`X-Forwarded-For` is read by the web server itself; this is for proxies that write the standard's header instead.
"""

import ipaddress
import re
from collections.abc import Iterable

from litestar.types import ASGIApp, Receive, Scope, Send

_PAIR = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s;,"]+)')
_HOP = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Forwarded:
    """ASGI wrapper that puts the client in the place of the last proxy of ours, and of the scheme it came by."""

    def __init__(self, app: ASGIApp, trusted: Iterable[str]) -> None:
        """trusted: addresses and networks of proxies that are believed."""
        self.app = app
        self._trusted = [ipaddress.ip_network(one, strict=False) for one in trusted]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client is not None and self._believed(_address(client[0])):
            found = self._client(_hops(scope))
            if found is not None:
                address, scheme = found
                scope["client"] = (address, 0)
                if scheme in ("http", "https"):
                    scope["scheme"] = {"http": "ws", "https": "wss"}[scheme] if _is_socket(scope) else scheme
        await self.app(scope, receive, send)

    def _client(self, hops: list[dict[str, str]]) -> tuple[str, str] | None:
        """The last hop that is no proxy of ours; what stands left of it, anybody may have written."""
        for place in range(len(hops) - 1, -1, -1):
            address = _address(hops[place].get("for", ""))
            if address is None:
                return None  # hidden, or no address: then it stays the proxy
            if place == 0 or not self._believed(address):
                return str(address), hops[place].get("proto", "").lower()
        return None

    def _believed(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _hops(scope: Scope) -> list[dict[str, str]]:
    """What each proxy wrote, the nearest last; nothing when the header is not one."""
    text = ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"forwarded")
    return [
        {name.lower(): _unquoted(value) for name, value in _PAIR.findall(hop)}
        for hop in _HOP.findall(text)
        if hop.strip()
    ]


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _address(text: str) -> Address | None:
    """An address out of `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`; None for anything else."""
    bare = text.partition("]")[0].removeprefix("[") if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        return None


def _is_socket(scope: Scope) -> bool:
    return str(scope["type"]) == "websocket"
