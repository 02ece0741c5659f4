"""How often somebody may try: counted in Redis, so that all api processes share one count.

Who cannot count does not let anybody in: while Redis is away, passwords are not checked.
"""

import asyncio
import hashlib
import ipaddress
import time
from dataclasses import dataclass
from typing import Any, Self

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from litestar.connection import ASGIConnection
from litestar.types import Message, Scope

from octavia_stream.accounts.store import normal_email
from octavia_stream.config import LimitSettings
from octavia_stream.errors import DependencyUnavailable, InvalidRequest, RateLimited

TIMEOUT_S = 1.0
QUARTER_HOUR_S = 900
HOUR_S = 3600
HEADERS_KEY = "rate_limit_headers"
"""Where a connection's state keeps what its answer will say."""
IPV6_NETWORK = 64
"""Bits that belong to one customer: whoever has one address of a network has all of them."""


AnyConnection = ASGIConnection[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Limit:
    """So many in so long."""

    name: str
    amount: int
    seconds: int


class RateLimits:
    """Counts what people try. Methods raise RateLimited, and DependencyUnavailable while Redis is away."""

    def __init__(self, redis_url: str, settings: LimitSettings) -> None:
        """redis_url: `redis://…`, `rediss://…` or `unix:///path`. Connections open when first used."""
        unix = redis_url.startswith("unix:")
        self._storage = RedisStorage(
            f"async+redis+{redis_url}" if unix else f"async+{redis_url}",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix="octavia:limits",
            socket_connect_timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
        )
        self._limiter = MovingWindowRateLimiter(self._storage)
        self._guess = Limit("password", settings.log_in_attempts, QUARTER_HOUR_S)
        self._guess_account = Limit("password-account", settings.log_in_attempts_per_account, HOUR_S)
        self._guess_address = Limit("password-address", settings.log_in_attempts_per_address, QUARTER_HOUR_S)
        self._sign_up = Limit("sign-up", settings.sign_ups_per_address, HOUR_S)
        self._reset = Limit("reset", settings.password_resets, HOUR_S)
        self._reset_address = Limit("reset-address", settings.password_resets_per_address, HOUR_S)
        self._letter = Limit("letters", settings.invitations, HOUR_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        client: Any = self._storage.bridge.get_connection()  # type: ignore[attr-defined]
        await client.aclose()

    async def password_tried(self, connection: AnyConnection, account: str) -> None:
        """Before a password is checked. account: an e-mail address, or the id of who asks."""
        address, somebody = client_address(connection), _account_key(account)
        await self._spend(connection, self._guess_address, address)
        await self._spend(connection, self._guess_account, somebody)
        await self._spend(connection, self._guess, somebody, address)

    async def password_right(self, connection: AnyConnection, account: str) -> None:
        """The owner's earlier slips at this place are forgotten."""
        await self._asked(self._limiter.clear(_item(self._guess), _account_key(account), client_address(connection)))

    async def sign_up_tried(self, connection: AnyConnection) -> None:
        """Before an account is made."""
        await self._spend(connection, self._sign_up, client_address(connection))

    async def reset_asked(self, connection: AnyConnection, account: str) -> None:
        """Before a letter is written."""
        await self.reset_tried(connection)
        await self._spend(connection, self._reset, _account_key(account))

    async def letter_asked(self, connection: AnyConnection, account: str) -> None:
        """Before a letter goes to somebody else on an account's behalf."""
        await self._spend(connection, self._letter, _account_key(account))

    async def reset_tried(self, connection: AnyConnection) -> None:
        """Before a secret out of a letter is looked at."""
        await self._spend(connection, self._reset_address, client_address(connection))

    async def _spend(self, connection: AnyConnection, limit: Limit, *who: str) -> None:
        item = _item(limit)
        allowed = await self._asked(self._limiter.hit(item, *who))
        stats = await self._asked(self._limiter.get_window_stats(item, *who))
        wait_s = max(1, round(stats.reset_time - time.time()))
        left = max(0, stats.remaining)
        tell_limit(connection.scope, limit.name, limit.amount, limit.seconds, left, wait_s, "attempt")
        if not allowed:
            raise RateLimited(f"This was tried too often; try again in {wait_s} seconds.", wait_s)

    async def _asked(self, question: Any) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await question
        except (StorageError, OSError) as error:
            raise DependencyUnavailable("Redis cannot be reached just now; try again in a few seconds.") from error


async def add_rate_limit_headers(message: Message, scope: Scope) -> None:
    """Hook `before_send`: what a limit has left is said on every answer it counted, refusals too."""
    if message["type"] != "http.response.start":
        return
    told = list((scope.get("state") or {}).get(HEADERS_KEY, {}).values())
    if told:
        message["headers"] = [
            *message.get("headers", []),
            (b"ratelimit-policy", ", ".join(policy for policy, _ in reversed(told)).encode()),
            (b"ratelimit", ", ".join(level for _, level in reversed(told)).encode()),
        ]


def tell_limit(
    scope: Scope, name: str, amount: int, seconds: int, left: int, reset_s: int, place: str | None = None
) -> None:
    """Say in the answer what this limit has left: draft 10 of "RateLimit header fields for HTTP" (IETF httpapi).

    The limit that was asked last, which is the narrowest, is named first. place: of limits with the same one only the
    last is told.
    """
    told = scope["state"].setdefault(HEADERS_KEY, {})
    told.pop(place or name, None)
    told[place or name] = (f'"{name}";q={amount};w={seconds}', f'"{name}";r={left};t={reset_s}')


def client_address(connection: AnyConnection) -> str:
    """Whom to count for: an IPv4 address, or the network of an IPv6 one. Behind proxies, as trusted ones tell it."""
    host = connection.client.host if connection.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), IPV6_NETWORK), strict=False))


def _account_key(account: str) -> str:
    """No address of a person lies in Redis in the clear."""
    try:
        normal = normal_email(account)
    except InvalidRequest:
        normal = account
    return hashlib.sha256(normal.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _item(limit: Limit) -> RateLimitItemPerSecond:
    return RateLimitItemPerSecond(limit.amount, limit.seconds, namespace=limit.name)
