"""What calls cost: credits are held before the work, and charged by the second for what was delivered. They count in
the quota of sound as jobs do, charged or not.

What a process leaves that is killed before it has settled a call goes by itself when the time of the call is over:
the hold ends, and the sound counts for nothing.
"""

from uuid import UUID

from octavia_stream.billing import ledger
from octavia_stream.billing.prices import PricingTiers
from octavia_stream.billing.transfer import Hold
from octavia_stream.config import BillingSettings
from octavia_stream.database.pool import Database
from octavia_stream.jobs.job import JobKind
from octavia_stream.quotas.quotas import Quotas

TRANSCRIBING: JobKind = "subtitle-generate"
SPEAKING: JobKind = "subtitle-to-audio"
"""A call costs what the kind of job costs that does the same work."""


class CallCharges:
    """Methods raise DependencyUnavailable while Postgres is away."""

    def __init__(
        self,
        database: Database,
        prices: PricingTiers,
        quotas: Quotas,
        settings: BillingSettings,
        lifetime_s: float,
    ) -> None:
        """lifetime_s: after so long a hold ends by itself."""
        self._database = database
        self._prices = prices
        self._quotas = quotas
        self.enabled = settings.enabled
        self._lifetime_s = lifetime_s

    async def hold(self, owner_id: UUID, call_id: UUID, kind: JobKind, seconds: float) -> Hold | None:
        """Set aside what `seconds` of sound cost; None when that is nothing.

        Raises QuotaExceeded, InsufficientCredits.
        """
        price = self._prices.quote(kind, seconds) if self.enabled else 0
        async with self._database.transaction() as connection:
            await self._quotas.admit_call(connection, owner_id, call_id, seconds)
            if not price:
                return None
            return await ledger.reserve(
                connection, owner_id, price, key=f"reserve/call/{call_id}", reason=kind, lifetime_s=self._lifetime_s
            )

    async def settle(self, hold: Hold | None, call_id: UUID, kind: JobKind, seconds: float) -> None:
        """Charge for what was delivered, never more than was held, and let the rest go."""
        async with self._database.transaction() as connection:
            await self._quotas.settle_job(connection, call_id, seconds)
            if hold is None:
                return
            due = min(hold.amount, self._prices.quote(kind, seconds))
            await ledger.capture(connection, hold, due, reason=kind if due else "Nothing was delivered.")

    async def settle_lost(self) -> int:
        """Let the sound go of calls that were never settled, past the time of their holds; returns how many."""
        return await self._quotas.settle_lost_calls(self._database, self._lifetime_s)
