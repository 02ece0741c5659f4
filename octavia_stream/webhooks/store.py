"""Endpoints and deliveries in Postgres."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from octavia_stream.config import OutboundSettings, WebhookSettings
from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.database.pool import Database, Row
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import Conflict, NotFound
from octavia_stream.net.guarded_http import check_url
from octavia_stream.webhooks import queries
from octavia_stream.webhooks.endpoint import Delivery, DeliveryState, DueDelivery, Endpoint, JobHookType
from octavia_stream.webhooks.signature import new_secret

NONE = "There is no such webhook, or it is not yours."


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """An endpoint, and the moment in which its secret is shown."""

    endpoint: Endpoint
    secret: str


class WebhookStore:
    """Methods raise DependencyUnavailable while Postgres is away, NotFound for what is another's."""

    def __init__(self, database: Database, settings: WebhookSettings, outbound: OutboundSettings) -> None:
        self._database = database
        self._settings = settings
        self._outbound = outbound

    async def create(self, account_id: UUID, url: str, events: Sequence[JobHookType], description: str) -> NewEndpoint:
        """Raises AddressRefused, and Conflict when there are as many as an account may have."""
        check_url(url, self._outbound)
        secret, most = new_secret(), self._settings.endpoints_per_account
        async with self._database.transaction() as connection:
            if await connection.fetchrow(queries.LOCK_ACCOUNT, account_id) is None:
                raise NotFound("There is no such account.")
            if await connection.fetchval(queries.COUNT, account_id) >= most:
                raise Conflict(f"There are {most} webhooks already; delete one first.")
            row = await connection.fetchrow(
                queries.CREATE, uuid7(), account_id, url, description, sorted(set(events)), secret
            )
        return NewEndpoint(_endpoint(row), secret)

    async def list_endpoints(self, account_id: UUID) -> list[Endpoint]:
        """Newest first."""
        return [_endpoint(row) for row in await self._database.fetch(queries.LIST, account_id)]

    async def get(self, endpoint_id: UUID, account_id: UUID) -> Endpoint:
        return _endpoint(await self._database.fetchrow(queries.GET, endpoint_id, account_id))

    async def update(
        self,
        endpoint_id: UUID,
        account_id: UUID,
        *,
        url: str | None = None,
        description: str | None = None,
        events: Sequence[JobHookType] | None = None,
        enabled: bool | None = None,
    ) -> Endpoint:
        """Change what is not None. Raises AddressRefused."""
        if url is not None:
            check_url(url, self._outbound)
        wanted = sorted(set(events)) if events is not None else None
        return _endpoint(
            await self._database.fetchrow(queries.UPDATE, endpoint_id, account_id, url, description, wanted, enabled)
        )

    async def delete(self, endpoint_id: UUID, account_id: UUID) -> None:
        """Its deliveries go with it."""
        if await self._database.fetchval(queries.DELETE, endpoint_id, account_id) is None:
            raise NotFound(NONE)

    async def rotate(self, endpoint_id: UUID, account_id: UUID) -> str:
        """A new secret; for a while the old one signs beside it."""
        secret = new_secret()
        grace_s = float(self._settings.rotation_hours * 3600)
        if await self._database.fetchval(queries.ROTATE, endpoint_id, account_id, secret, grace_s) is None:
            raise NotFound(NONE)
        return secret

    async def ping(self, endpoint_id: UUID, account_id: UUID) -> Delivery:
        """Put a message of type `ping` into the outbox; it goes out also to an endpoint with other wishes.

        Raises Conflict when the endpoint is switched off.
        """
        if not (await self.get(endpoint_id, account_id)).enabled:
            raise Conflict("This webhook is switched off; switch it on first.")
        delivery_id = await self._database.fetchval(queries.ADD_PING, endpoint_id, uuid7())
        return _delivery(await self._database.fetchrow(queries.DELIVERY, delivery_id))

    async def deliveries(
        self,
        endpoint_id: UUID,
        account_id: UUID,
        limit: int,
        before: UUID | None = None,
        state: DeliveryState | None = None,
    ) -> list[Delivery]:
        """Newest message first. before: the message after which to go on."""
        await self.get(endpoint_id, account_id)
        rows = await self._database.fetch(queries.DELIVERIES, endpoint_id, limit, before, state)
        return [_delivery(row) for row in rows]

    async def redeliver(self, delivery_id: UUID, account_id: UUID) -> Delivery:
        """Send it once more, as the same message, with as many attempts as a new one."""
        if await self._database.fetchval(queries.REDELIVER, delivery_id, account_id) is None:
            raise NotFound("There is no such delivery, or it is not yours.")
        return _delivery(await self._database.fetchrow(queries.DELIVERY, delivery_id))

    # The deliverer's side

    async def take(self, limit: int, for_s: float, per_endpoint: int) -> list[DueDelivery]:
        """What is due, taken for `for_s` seconds; then it is due again, unless it was concluded."""
        rows = await self._database.fetch(queries.TAKE, limit, for_s, per_endpoint)
        if rows:
            crash_point(CrashPoint.DELIVERY_TAKEN)
        return [
            msgspec.convert({**row, "payload": msgspec.Raw(msgspec.json.encode(row["payload"]))}, DueDelivery)
            for row in rows
        ]

    async def delivered(self, delivery_id: UUID, status: int) -> None:
        """It arrived."""
        await self._database.execute(queries.DELIVERED, delivery_id, status)
        crash_point(CrashPoint.DELIVERY_RECORDED)

    async def failed(self, due: DueDelivery, status: int | None, error: str, again_s: float | None) -> None:
        """It did not. again_s: when to try again; None: never. An endpoint that fails for too long is switched off."""
        await self._database.execute(queries.FAILED, due.id, status, error, again_s)
        crash_point(CrashPoint.DELIVERY_FAILED)
        days = self._settings.disable_after_days
        reason = f"Nothing arrived here for {days} days; the last error was: {error}"
        await self._database.execute(queries.DISABLE, due.endpoint_id, reason, float(days * 86_400))

    async def disable(self, endpoint_id: UUID, reason: str) -> None:
        """Tell it nothing more."""
        await self._database.execute(queries.DISABLE, endpoint_id, reason, None)

    async def forget_old(self) -> None:
        """Messages go after a while, delivered or not."""
        await self._database.execute(queries.FORGET, self._settings.log_days)


def _endpoint(row: Row | None) -> Endpoint:
    if row is None:
        raise NotFound(NONE)
    return msgspec.convert(dict(row), Endpoint)


def _delivery(row: Row | None) -> Delivery:
    if row is None:
        raise NotFound("There is no such delivery, or it is not yours.")
    return msgspec.convert(dict(row), Delivery)
