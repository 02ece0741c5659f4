"""Orders: buying credits. What Polar's API says an order is now decides; a message only says when to ask.

So a message that comes twice, late or out of order does nothing that asking again would not do. Nothing is ever
credited because a browser came back.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from uuid import UUID

import structlog

from octavia_stream.billing import ledger
from octavia_stream.billing.polar import Message, Polar, PolarOrder
from octavia_stream.billing.prices import PricingTiers
from octavia_stream.config import Settings
from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.database.pool import Database
from octavia_stream.errors import Conflict, DependencyUnavailable, NotFound

POLL_S = 30.0
RECONCILE_S = 24 * 3600.0
AT_ONCE = 50

_RECEIVE = """
insert into polar_event (webhook_id, type, order_id, settled_at)
values ($1, $2, $3, case when $3::text is null then now() end) on conflict do nothing returning webhook_id
"""
_PENDING = """
select webhook_id, order_id from polar_event where settled_at is null and next_try_at <= now()
order by next_try_at limit $1
"""
_SETTLED = "update polar_event set settled_at = now(), attempts = attempts + 1, problem = $2 where webhook_id = $1"
# Two seconds, then four, up to an hour.
_LATER = """
update polar_event set attempts = attempts + 1,
    next_try_at = now() + make_interval(secs => least(3600, 2 ^ least(attempts + 1, 20)))
where webhook_id = $1
"""
# Nobody removes a buyer between the question and the credit.
_BUYER = "select 1 from tenant where id = $1 for key share"

log = structlog.stdlib.get_logger(__name__)


class Orders:
    """Sells packages of credits through Polar."""

    def __init__(self, database: Database, polar: Polar, prices: PricingTiers) -> None:
        self._database = database
        self._polar = polar
        self._prices = prices
        self._told = asyncio.Event()

    async def checkout(
        self, owner_id: UUID, buyer_id: UUID, email: str, package_id: str, success_url: str | None
    ) -> str:
        """Where to pay for a package. Raises NotFound, Conflict, DependencyUnavailable.

        owner_id: who gets the credits, an account or a team. buyer_id, email: of the account that pays.
        """
        package = self._prices.package_of_id(package_id)
        if package is None:
            raise NotFound("There is no such package.")
        return await self._polar.checkout(package, owner_id, buyer_id, email, success_url)

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> Message:
        """Keep a message; `run` does what it asks for. Raises Forbidden, InvalidRequest, DependencyUnavailable."""
        message = self._polar.verify(body, headers)
        if await self._database.fetchrow(_RECEIVE, message.id, message.type, message.order_id) is not None:
            crash_point(CrashPoint.MESSAGE_KEPT)
            self._told.set()
        return message

    async def run(self) -> None:
        """Settle what messages are about, and once a day every order; until cancelled."""
        loop = asyncio.get_running_loop()
        reconcile_at = loop.time()
        while True:
            self._told.clear()
            try:
                while await self.settle_pending() == AT_ONCE:
                    pass
                if loop.time() >= reconcile_at:
                    await self.reconcile()
                    reconcile_at = loop.time() + RECONCILE_S
            except DependencyUnavailable as error:
                log.warning("orders_wait", reason=str(error))
            try:
                async with asyncio.timeout(POLL_S):
                    await self._told.wait()
            except TimeoutError:
                continue

    async def settle_pending(self, limit: int = AT_ONCE) -> int:
        """Settle the orders that messages are about, oldest first; returns how many messages were looked at."""
        rows = await self._database.fetch(_PENDING, limit)
        for row in rows:
            try:
                problem = await self.settle(row["order_id"])
            except DependencyUnavailable as error:
                log.warning("order_waits", order=row["order_id"], reason=str(error))
                await self._database.execute(_LATER, row["webhook_id"])
            else:
                crash_point(CrashPoint.ORDER_CREDITED)
                await self._database.execute(_SETTLED, row["webhook_id"], problem)
                crash_point(CrashPoint.ORDER_SETTLED)
        return len(rows)

    async def reconcile(self) -> int:
        """Settle every order at Polar, for messages that never came; returns how many."""
        count = 0
        async for order_id in self._polar.order_ids():
            await self.settle(order_id)
            count += 1
        return count

    async def settle(self, order_id: str) -> str | None:
        """Make the ledger say what Polar says of an order; again is the same as once.

        Returns why nothing could be done, for an operator to look at; None when all is well.
        """
        try:
            order = await self._polar.order(order_id)
            problem = await self._credit(order)
        except (NotFound, Conflict) as error:
            problem = str(error)
        if problem is not None:
            log.warning("order_not_settled", order=order_id, reason=problem)
        return problem

    async def _credit(self, order: PolarOrder) -> str | None:
        """Give what was paid for, take what was paid back. Raises Conflict."""
        if not order.paid:
            return None
        package = self._prices.package_of_product(order.product_id) if order.product_id is not None else None
        if package is None:
            return "The order is for nothing that is on sale here."
        async with self._database.transaction() as connection:
            if order.owner_id is None or await connection.fetchval(_BUYER, order.owner_id) is None:
                return "The order names no account and no team of this server."
            bought = await ledger.purchase(
                connection, order.owner_id, package.credits, order_id=order.id, reason=package.name
            )
            refunded = _share(bought.amount, order.refunded_cents, order.net_cents)
            await ledger.take_back(connection, order.id, refunded, "refund", reason="The payment was refunded.")
            lost = _share(bought.amount, order.lost_cents, order.net_cents)
            await ledger.take_back(connection, order.id, lost, "chargeback", reason="The bank took the payment back.")
        return None


@asynccontextmanager
async def open_orders(settings: Settings, database: Database, prices: PricingTiers) -> AsyncIterator[Orders | None]:
    """Sells credits as long as it is open; None when there is no key to Polar, or nothing is charged anyway."""
    billing, token, secret = settings.billing, settings.polar_token, settings.polar_webhook_secret
    if not billing.enabled or token is None or secret is None:
        yield None
        return
    async with Polar(token, secret, billing.polar_server, billing.polar_url) as polar:
        orders = Orders(database, polar, prices)
        settling = asyncio.create_task(orders.run(), name="orders")
        try:
            yield orders
        finally:
            settling.cancel()
            await asyncio.gather(settling, return_exceptions=True)


def _share(credits: int, cents: int, of_cents: int) -> int:
    """The credits that belong to a part of the price, rounded up."""
    return min(credits, -(-credits * cents // of_cents)) if cents > 0 and of_cents > 0 else 0
