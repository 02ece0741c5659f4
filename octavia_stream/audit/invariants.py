"""The audit: what must always hold, each as a number that is zero when it does."""

from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from octavia_stream.audit import queries
from octavia_stream.audit.stored import QUERY_TIMEOUT_S, check_kept, orphans
from octavia_stream.billing.audit import audit_ledger
from octavia_stream.database.pool import Connection, Database
from octavia_stream.jobs.scratch import abandoned_scratch
from octavia_stream.storage.objects import ObjectStore

ORPHAN_AGE = timedelta(days=1)
"""Younger orphans may be somebody's work under way, and are never removed."""


class Breach(msgspec.Struct, frozen=True):
    """How often one invariant does not hold."""

    invariant: str
    """`I1` … as the documentation numbers them."""
    name: str
    count: int
    meaning: str


class Audit(msgspec.Struct, frozen=True):
    """Everything that was counted."""

    breaches: list[Breach]

    @property
    def clean(self) -> bool:
        return not any(breach.count for breach in self.breaches)

    def count(self, name: str) -> int:
        """The number of this name. Raises KeyError."""
        return {breach.name: breach.count for breach in self.breaches}[name]


_IN_ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("I1", "untold", queries.UNTOLD, "accepted jobs whose events do not say so"),
    ("I2", "double_chunks", queries.DOUBLE_CHUNKS, "pieces of work that are recorded twice"),
    ("I2", "double_artifacts", queries.DOUBLE_ARTIFACTS, "results of one job under one name"),
    ("I4", "future_epochs", queries.FUTURE_EPOCHS, "pieces of work under an epoch that the job never had"),
    ("I4", "late_writes", queries.LATE_WRITES, "pieces of work that were written after their job had ended"),
    ("I3", "wrong_purses", queries.WRONG_PURSES, "jobs paid with credits of another owner"),
    ("I3", "live_overcharged", queries.LIVE_OVERCHARGED, "live sessions charged for more than was heard"),
    ("I6", "ownerless_teams", queries.OWNERLESS_TEAMS, "teams without exactly one owner"),
    ("I6", "strangers", queries.STRANGERS, "jobs of people that others asked for"),
    ("I3", "room_left", queries.ROOM_LEFT, "uploads that are over and still take room in a quota"),
    ("I5", "gaps", queries.GAPS, "jobs whose events are not numbered 1, 2, 3 …"),
    ("I5", "regressions", queries.REGRESSIONS, "times that a job's percentage fell"),
    ("I5", "wrong_endings", queries.WRONG_ENDINGS, "jobs that did not tell their end exactly once"),
)

# Of the deadline: what waits longer than that is forgotten.
_WAITING: tuple[tuple[str, str, str, str], ...] = (
    ("I1", "stuck", queries.STUCK, "accepted jobs that nobody has worked on for too long"),
    ("I5", "messages_left", queries.MESSAGES_LEFT, "webhooks' messages that nobody has tried to tell for too long"),
    ("I5", "letters_left", queries.LETTERS_LEFT, "letters that nobody has tried to send for too long"),
)
# Of the grace: it should have gone by itself.
_LEFT: tuple[tuple[str, str, str, str], ...] = (
    ("I3", "holds_left", queries.HOLDS_LEFT, "credits that are held past their time"),
    ("I1", "live_left", queries.LIVE_LEFT, "live sessions that nobody has and nobody ended"),
    ("I3", "sound_left", queries.SOUND_LEFT, "jobs and calls that are over and whose sound was never settled"),
)


async def audit(
    database: Database,
    objects: ObjectStore,
    home: Path,
    *,
    deadline_s: float = 86_400.0,
    grace_s: float = 3600.0,
    content: bool = True,
) -> Audit:
    """Count every breach that can be seen from here. It changes nothing.

    deadline_s: how long an accepted job may wait for a worker, and a message for somebody who tells it. grace_s: how
    old something without an owner must be to count as left over. content: also read every stored object, and compare
    it with what was written.
    Raises DependencyUnavailable, StorageUnavailable.
    """
    in_rows = await _rows(database, deadline_s, grace_s)
    books = await audit_ledger(database)
    kept = await check_kept(database, objects, content=content)
    before = await _now(database) - timedelta(seconds=grace_s)
    ownerless = len([orphan async for orphan in orphans(database, objects, before)])
    parts = len(await objects.leftover_parts(before))
    return Audit(
        [
            *in_rows,
            Breach("I2", "missing_objects", kept.missing, "files that are recorded and do not exist"),
            Breach("I2", "damaged_objects", kept.damaged, "files that are not what was written"),
            Breach("I3", "drift", books.drift, "credits by which balances and transfers differ"),
            Breach("I3", "negative_balances", books.negative_balances, "accounts overdrawn by more than went back"),
            Breach("I3", "orphan_holds", books.orphan_holds, "credits held for jobs that have ended"),
            Breach("I3", "doubles", books.doubles, "jobs charged twice and orders credited twice"),
            Breach("I7", "orphan_objects", ownerless, "files that belong to nothing"),
            Breach("I7", "leftover_parts", parts, "files that were never finished"),
            Breach("I7", "scratch", len(abandoned_scratch(home / "scratch")), "temporary folders of dead workers"),
        ]
    )


async def remove_orphans(database: Database, objects: ObjectStore, age: timedelta = ORPHAN_AGE) -> tuple[int, int]:
    """Remove objects that belong to nothing and are older than `age`; returns how many, and their bytes."""
    count = freed = 0
    async for orphan in orphans(database, objects, await _now(database) - age):
        await objects.delete(orphan.key)
        count += 1
        freed += orphan.size
    return count, freed


async def _rows(database: Database, deadline_s: float, grace_s: float) -> list[Breach]:
    """What the database says of itself, all as of one instant."""
    async with database.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(f"set local statement_timeout = '{QUERY_TIMEOUT_S:.0f}s'")
        asked = [
            *[(one, (deadline_s,)) for one in _WAITING],
            *[(one, (grace_s,)) for one in _LEFT],
            *[(one, ()) for one in _IN_ROWS],
        ]
        return [
            Breach(label, name, await _count(connection, query, *limits), text)
            for (label, name, query, text), limits in asked
        ]


async def _count(connection: Connection, query: str, *arguments: object) -> int:
    return int(await connection.fetchval(query, *arguments, timeout=QUERY_TIMEOUT_S))


async def _now(database: Database) -> datetime:
    now: datetime = await database.fetchval("select now()")
    return now
