"""HTTP to addresses that users name, and nowhere inside (no server-side request forgery).

A name is looked up once, every address it has is judged, and the connection goes to an address that was judged:
what the name says a moment later does not matter. This happens for each connection, so for each redirect too.
Proxies and credentials of the environment are not used.
"""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import urlsplit

import httpcore
import httpx

from octavia_stream.config import OutboundSettings
from octavia_stream.errors import AddressRefused

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

LOOK_UP_S = 10.0
"""How long the look-up of a name may take."""
MAX_CONNECTIONS = 20
USER_AGENT = "octavia-stream"
_URL_MAX = 2048
_REFUSED = "The address leads to a network where this server does not go."

# Beyond what ipaddress calls global, whose lists differ between versions of Python.
_FORBIDDEN = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; one cloud's metadata live here
        "168.63.129.16/32",  # a public address by which one cloud talks to its machines
        "192.0.0.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "198.18.0.0/15",
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "2001::/23",  # Teredo and other protocols
        "2002::/16",  # 6to4: an IPv4 address within
        "64:ff9b:1::/48",  # NAT64 of one's own choice
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = IPv6Network("::/96")


@dataclass(frozen=True, slots=True)
class Guard:
    """Says which addresses may be connected to."""

    allowed: tuple[Network, ...] = ()
    """Networks that are allowed though they are inside."""

    def allows(self, address: Address) -> bool:
        """Whether this address is public, or allowed by name. IPv6 forms of IPv4 addresses count as what they hold."""
        if _within(address, self.allowed):
            return True
        inner = _ipv4_inside(address)
        if inner is not None:
            return self.allows(inner)
        return address.is_global and not address.is_multicast and not _within(address, _FORBIDDEN)

    async def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a name, in the system's order. Raises AddressRefused if even one is not allowed.

        Raises OSError when the name is unknown, TimeoutError when nobody answers.
        """
        async with asyncio.timeout(LOOK_UP_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        # An interface may stand behind a `%`; only link-local addresses need one.
        if not addresses or not all("%" not in text and self.allows(ip_address(text)) for text in addresses):
            raise AddressRefused(_REFUSED)
        return addresses


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections to judged addresses; TLS still checks the name that the URL says."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises AddressRefused, and what httpcore raises."""
        try:
            addresses = await self._guard.resolve(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name is unknown") from error
        return await self._first(addresses, port, timeout, local_address, socket_options)

    async def _first(
        self,
        addresses: Sequence[str],
        port: int,
        timeout: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address that answers; the last one's error when none does."""
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise AddressRefused(_REFUSED)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over connections that are judged first."""

    def __init__(self, guard: Guard) -> None:
        super().__init__(trust_env=False)
        # httpx has no argument for the network below; its pool is one of httpcore, which has.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=0,
            network_backend=GuardedBackend(guard),
        )


def guard(settings: OutboundSettings) -> Guard:
    """The guard that the settings describe."""
    return Guard(settings.allowed_networks)


def guarded_client(
    settings: OutboundSettings, *, timeout_s: float, max_redirects: int = 0, user_agent: str = USER_AGENT
) -> httpx.AsyncClient:
    """A client for addresses that users name; close it after use (`async with`).

    timeout_s: for connecting, and for each wait in reading and writing; bound the whole exchange with asyncio.timeout.
    max_redirects: how many are followed; 0 returns the redirect itself.
    Its requests raise AddressRefused when they lead inside, and httpx's errors.
    """
    return httpx.AsyncClient(
        transport=GuardedTransport(guard(settings)),
        timeout=timeout_s,
        follow_redirects=max_redirects > 0,
        max_redirects=max_redirects,
        trust_env=False,
        headers={"User-Agent": user_agent},
    )


def check_url(url: str, settings: OutboundSettings) -> str:
    """Refuse early what no request could do; returns the URL. The address of a name is judged when it is called.

    Raises AddressRefused: another scheme than http and https, credentials inside, no host, a forbidden literal address.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise AddressRefused("This is not an address of the web.") from error
    if parts.scheme not in {"http", "https"} or not host or port == 0 or len(url) > _URL_MAX or not url.isprintable():
        raise AddressRefused("This is not an address of the web, such as https://example.org/talk.mp4.")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("The address holds a name or a password; those are not sent.")
    if (literal := _literal(host)) is not None and not guard(settings).allows(literal):
        raise AddressRefused(_REFUSED)
    return url


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _ipv4_inside(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: mapped, compatible, or behind NAT64."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(address.packed[-4:]) if address in _NAT64 or address in _IPV4_COMPATIBLE else None
