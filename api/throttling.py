"""Requests of every route, counted for whoever asks and for the address they come from.

While Redis is away nobody is refused here: what must never be exceeded is bounded by quotas, in Postgres, and
passwords are not checked at all then (`api.rate_limits`).
"""

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias
from uuid import UUID

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from api.rate_limits import AnyConnection, client_address, tell_limit
from octavia_stream.config import LimitSettings
from octavia_stream.database.pool import Database
from octavia_stream.errors import RateLimited
from octavia_stream.quotas.quotas import Quotas
from octavia_stream.quotas.throttle import Bucket, Throttle

RequestClass: TypeAlias = Literal["reads", "writes", "uploads"]
RATE_OPT = "rate"
"""Handlers name here the class their requests count in, where their method does not say it; or `UNCOUNTED`."""
UNCOUNTED = "uncounted"
"""For whoever watches the server: counting would make it look ill when it is busy."""
READING = frozenset({"GET", "HEAD", "OPTIONS"})
MINUTE_S = 60
TIER_S = 60.0
"""How long an account's tier is remembered."""
REMEMBERED = 10_000


class RequestLimits:
    """Counts requests. Methods raise RateLimited."""

    def __init__(self, throttle: Throttle, quotas: Quotas, database: Database, settings: LimitSettings) -> None:
        self._throttle = throttle
        self._quotas = quotas
        self._database = database
        self._settings = settings
        self._tiers: OrderedDict[UUID, tuple[float, str | None]] = OrderedDict()

    async def address_asks(self, connection: AnyConnection) -> None:
        """Before anything else is done for a request."""
        amount = self._settings.requests_per_address
        if amount:
            await self._take(connection, [Bucket("address", client_address(connection), amount, MINUTE_S)])

    async def account_asks(self, connection: AnyConnection, account_id: UUID, opt: Mapping[str, Any]) -> None:
        """When it is known who asks. All their sessions and API keys share one count: another key buys nothing."""
        kind = class_of(opt, str(connection.scope.get("method", "GET")))
        amount = getattr(self._quotas.tier(await self._tier(account_id)), f"{kind}_per_minute") if kind else 0
        if amount:
            await self._take(connection, [Bucket(f"account-{kind}", account_id.hex, amount, MINUTE_S)])

    async def _take(self, connection: AnyConnection, buckets: Sequence[Bucket]) -> None:
        for level in await self._throttle.take(buckets):
            tell_limit(connection.scope, level.bucket.name, level.bucket.amount, MINUTE_S, level.left, level.full_in_s)
            if level.wait_s:
                raise RateLimited(f"These are too many requests; go on in {level.wait_s} seconds.", level.wait_s)

    async def _tier(self, account_id: UUID) -> str | None:
        """The account's tier, as it was at most a minute ago; not asked for where there is only one."""
        if not self._settings.tiers:
            return None
        found = self._tiers.get(account_id)
        if found is None or found[0] < time.monotonic():
            tier = await self._quotas.tier_of(self._database, account_id)
            found = (time.monotonic() + TIER_S, tier)
            self._tiers[account_id] = found
            if len(self._tiers) > REMEMBERED:
                self._tiers.popitem(last=False)
        return found[1]


def class_of(opt: Mapping[str, Any], method: str) -> RequestClass | None:
    """In which class requests to a handler with this `opt` count; None: in none."""
    named = opt.get(RATE_OPT)
    if named == UNCOUNTED:
        return None
    if named in ("reads", "writes", "uploads"):
        kind: RequestClass = named
        return kind
    return "reads" if method in READING else "writes"


class AddressLimits(ASGIMiddleware):
    """Counts every HTTP request by its address, before it is asked who sends it. Sockets ask for themselves."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if class_of(scope["route_handler"].opt, "GET") is not None:
            limits: RequestLimits = scope["litestar_app"].state.services.requests
            await limits.address_asks(ASGIConnection(scope))
        await next_app(scope, receive, send)
