"""Credits by owner: the ledger, each operation in a transaction of its own."""

from collections.abc import Sequence
from datetime import datetime
from typing import get_args
from uuid import UUID

import msgspec

from octavia_stream.billing import ledger, queries
from octavia_stream.billing.transfer import Balance, Hold, LineType, StatementLine, Transfer
from octavia_stream.database.pool import Database
from octavia_stream.errors import Conflict

LINE_TYPES: tuple[LineType, ...] = get_args(LineType)
EXPIRE_AT_ONCE = 100


class CreditStore:
    """What people have and had. Methods raise DependencyUnavailable while Postgres is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def balance(self, owner_id: UUID) -> Balance:
        """What somebody has now; zeros for somebody the ledger does not know."""
        async with self._database.connection() as connection:
            return await ledger.balance(connection, owner_id)

    async def balance_and_holds(self, owner_id: UUID) -> tuple[Balance, list[Hold]]:
        """What somebody has and what of it is set aside, as of one instant."""
        async with self._database.connection() as connection, connection.transaction(isolation="repeatable_read"):
            now = await ledger.balance(connection, owner_id)
            rows = await connection.fetch(queries.OPEN_HOLDS, owner_id)
        return now, [msgspec.convert(dict(row), Hold) for row in rows]

    async def open_holds(self, owner_id: UUID) -> list[Hold]:
        """What is set aside now, oldest first."""
        rows = await self._database.fetch(queries.OPEN_HOLDS, owner_id)
        return [msgspec.convert(dict(row), Hold) for row in rows]

    async def statement(
        self,
        owner_id: UUID,
        limit: int,
        *,
        before: UUID | None = None,
        types: Sequence[LineType] = LINE_TYPES,
        job_id: UUID | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[StatementLine]:
        """Lines, newest first; `before` is the last id of the page before. since, until: [since, until)."""
        rows = await self._database.fetch(queries.STATEMENT, owner_id, list(types), job_id, since, until, before, limit)
        return [msgspec.convert(dict(row), StatementLine) for row in rows]

    async def grant(self, owner_id: UUID, amount: int, *, key: str, reason: str) -> Transfer:
        """As `ledger.grant`."""
        async with self._database.transaction() as connection:
            return await ledger.grant(connection, owner_id, amount, key=key, reason=reason)

    async def adjust(self, owner_id: UUID, amount: int, *, key: str, reason: str) -> Transfer:
        """As `ledger.adjust`."""
        async with self._database.transaction() as connection:
            return await ledger.adjust(connection, owner_id, amount, key=key, reason=reason)

    async def expire_due(self, limit: int = EXPIRE_AT_ONCE) -> int:
        """Let go what was held past its time, oldest first; returns how many holds. Again while it says `limit`."""
        rows = await self._database.fetch(queries.DUE_HOLDS, limit)
        ended = 0
        for row in rows:
            hold = msgspec.convert(dict(row), Hold)
            try:
                async with self._database.transaction() as connection:
                    await ledger.expire(connection, hold)
                ended += 1
            except Conflict:
                # It was captured or released since it was read.
                continue
        return ended
