"""What must be true after everything went wrong."""

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from octavia_stream.audit.invariants import Audit, audit, remove_orphans
from octavia_stream.database.pool import Database
from octavia_stream.errors import OctaviaError
from octavia_stream.runtime import open_objects
from octavia_stream.storage.objects import ObjectStore
from octavia_stream.testing import Call
from tests.chaos.books import Beginning, Books, Piece
from tests.chaos.server import Server
from tests.chaos.victims import strays
from tests.chaos.work import Done

SETTLED_S = 90.0
"""By then, whatever a dead process left has been taken care of."""
REPAIRED = ("orphan_objects", "leftover_parts")
"""What a death in the middle of a write may leave: `octavia audit --repair` removes it."""


@dataclass(frozen=True, slots=True)
class Product:
    """What came out of one piece of work."""

    files: dict[str, str]
    """What each holds, by name."""
    pieces: frozenset[Piece]


@dataclass(frozen=True, slots=True)
class Counts:
    """What a round cost."""

    begun: int
    again: int
    """Pieces that were in flight when something died, and were begun once more."""
    rerun: int
    """Pieces that had been finished and were done again, without a damaged object as the reason."""
    remade: int
    """Pieces whose object was damaged, noticed and made anew."""


def differences(name: str, made: Product, expected: Product) -> list[str]:
    """How a result differs from that of the same work when nothing goes wrong."""
    names = sorted(made.files.keys() | expected.files.keys())
    other = [file for file in names if made.files.get(file) != expected.files.get(file)]
    found = [f"{name}: {', '.join(other)} differ from the fault-free run"] if other else []
    foreign = made.pieces - expected.pieces
    if foreign:
        found.append(f"{name}: {len(foreign)} pieces that the fault-free run does not have")
    return found


def counted(jobs: Collection[Sequence[Beginning]], damaged: Collection[str]) -> Counts:
    """Look at every start of a piece, job by job: several may work on the same file."""
    begun = again = done_before = remade = 0
    for beginnings in jobs:
        keys = [one.finished_key for one in beginnings if one.finished_key is not None]
        begun += len(beginnings)
        again += len(beginnings) - len({one.piece for one in beginnings}) - len(keys)
        done_before += len(keys)
        remade += sum(key in damaged for key in keys)
    return Counts(begun, again, done_before - remade, remade)


def unexplained(calls: Sequence[Call], begun: Mapping[str, int]) -> list[str]:
    """Engines work only on what was begun: one chunk or sentence each, but for translations, which come in batches."""
    asked = Counter[str]()
    for call in calls:
        asked[call.stage] += len(call.items)
    return [
        f"{asked[stage]} calls of {stage} for {begun[stage]} pieces begun"
        for stage in ("transcribe", "synthesize")
        if asked[stage] > begun[stage]
    ]


async def ended_once(books: Books, done: Done) -> list[str]:
    """A job tells one end for each time that its owner started it."""
    runs, endings = await books.endings(done.job_id)
    wrong = (
        [] if runs == endings == done.runs else [f"{done.work.name}: {runs} runs, {endings} ends, {done.runs} asked"]
    )
    if done.job["status"] != "completed":
        wrong.append(f"{done.work.name}: {done.job['status']}, {done.job['error']}")
    return wrong


async def audited(server: Server) -> tuple[dict[str, int], list[str]]:
    """What a repair removed, and what is off all the same once everything had time to settle."""
    objects = open_objects(server.settings)
    async with Database(server.database_url) as database:
        found = await _settled(server, database, objects)
        removed = {name: found.count(name) for name in REPAIRED if found.count(name)}
        if removed:
            await remove_orphans(database, objects, timedelta(0))
            await objects.remove_leftover_parts(datetime.now(UTC))
            found = await _audit(server, database, objects)
    return removed, [f"audit: {one.count} {one.name} ({one.meaning})" for one in found.breaches if one.count]


async def _settled(server: Server, database: Database, objects: ObjectStore) -> Audit:
    give_up_at = time.monotonic() + SETTLED_S
    while True:
        try:
            found = await _audit(server, database, objects)
            if not any(one.count for one in found.breaches if one.name not in REPAIRED):
                return found
        except OctaviaError:
            # An object of an old epoch may go while it is being read.
            if time.monotonic() > give_up_at:
                raise
        if time.monotonic() > give_up_at:
            return found
        await asyncio.sleep(1.0)


async def _audit(server: Server, database: Database, objects: ObjectStore) -> Audit:
    return await audit(database, objects, server.home, deadline_s=SETTLED_S, grace_s=0.0)


async def nothing_left(server: Server) -> list[str]:
    """No process without a parent, no file of a job that is over."""
    give_up_at = time.monotonic() + SETTLED_S
    while True:
        processes = [f"{one.pid} {' '.join(one.cmdline())[:80]}" for one in await asyncio.to_thread(strays, server.pid)]
        files = [str(path.relative_to(server.home)) for path in (server.home / "scratch").glob("*/*")]
        if not processes and not files:
            return []
        if time.monotonic() > give_up_at:
            return [f"orphan process: {one}" for one in processes] + [f"temporary file: {one}" for one in files]
        await asyncio.sleep(0.5)


async def jobs_of(books: Books, done: Sequence[Done]) -> dict[UUID, list[Beginning]]:
    """Every start of every piece, by job."""
    return {one.job_id: await books.beginnings(one.job_id) for one in done}
