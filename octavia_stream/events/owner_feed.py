"""OwnerFeed: what happens to all jobs of an owner, in one order, from any number on.

The number of an event is taken under a lock in the transaction that stores it, so numbers rise in the order of commits
and a reader that has seen one has missed none before it. Readers read from Postgres at their own pace: one that is slow
costs no memory, and one that comes back goes on where it was.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Self
from uuid import UUID

import msgspec

from octavia_stream.database.pool import Database
from octavia_stream.errors import DependencyUnavailable
from octavia_stream.events.event import JobEvent, OwnerEventRecord

POLL_S = 0.25
"""How often one question covers all owners that somebody watches; how late an event may be told."""
PAGE = 200
PATIENCE_S = 30.0
"""How long a watcher outwaits a Postgres that is away."""

_HEADS = "select id, last_event from tenant where id = any($1::uuid[])"
_AFTER = """
select owner_seq, job_id, seq, at, data from job_event
where owner_id = $1 and owner_seq > $2 order by owner_seq limit $3
"""


class OwnerFeed:
    """All watchers of one process. Its task runs while somebody watches."""

    def __init__(self, database: Database, *, poll_s: float = POLL_S) -> None:
        self._database = database
        self._poll_s = poll_s
        self._watchers: dict[asyncio.Event, UUID] = {}
        self._heads: dict[UUID, int] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ask no more. May be called twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def head(self, owner_id: UUID) -> int:
        """The number of the owner's newest event; 0 when there is none. Raises DependencyUnavailable."""
        rows = await self._database.fetch(_HEADS, [owner_id])
        return int(rows[0]["last_event"]) if rows else 0

    async def follow(self, owner_id: UUID, after: int) -> AsyncGenerator[OwnerEventRecord]:
        """Every event after this number, for ever. Numbers of deleted jobs' events are left out.

        Raises DependencyUnavailable when Postgres stays away.
        """
        news = asyncio.Event()
        self._watchers[news] = owner_id
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll(), name="events: poll owners")
        away_since: float | None = None
        try:
            while True:
                news.clear()
                try:
                    records = await self._after(owner_id, after)
                    away_since = None
                except DependencyUnavailable:
                    away_since = away_since or time.monotonic()
                    if time.monotonic() - away_since > PATIENCE_S:
                        raise
                    await asyncio.sleep(self._poll_s)
                    continue
                for record in records:
                    yield record
                    after = record.id
                if len(records) < PAGE:
                    await news.wait()
        finally:
            del self._watchers[news]

    async def _after(self, owner_id: UUID, after: int) -> list[OwnerEventRecord]:
        return [
            OwnerEventRecord(
                row["owner_seq"], row["job_id"], row["seq"], row["at"], msgspec.convert(row["data"], JobEvent)
            )
            for row in await self._database.fetch(_AFTER, owner_id, after, PAGE)
        ]

    async def _poll(self) -> None:
        while self._watchers:
            await asyncio.sleep(self._poll_s)
            owners = set(self._watchers.values())
            try:
                rows = await self._database.fetch(_HEADS, list(owners))
            except DependencyUnavailable:
                continue
            heads = {row["id"]: row["last_event"] for row in rows}
            changed = {owner for owner, head in heads.items() if head != self._heads.get(owner)}
            self._heads = heads
            for news, owner_id in self._watchers.items():
                if owner_id in changed:
                    news.set()
