"""What Postgres and the disk say of the whole server at this moment."""

import asyncio
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from octavia_stream.database.pool import Database
from octavia_stream.telemetry import metrics

STORED_EVERY_S = 60.0
"""Sizes are sums over whole tables."""

# A job that was given back is processing still, and waits.
_JOBS = """
select kind, case when lease_until is null then 'waiting' else 'processing' end as status, count(*) as jobs
from job where submitted_at is not null and status in ('pending', 'processing') group by 1, 2
"""
_QUEUE = """
select count(*) filter (where lease_until is null) as waiting,
    count(*) filter (where lease_until < now()) as late,
    count(*) filter (where lease_until >= now()) as processing,
    coalesce(extract(epoch from max(now() - submitted_at) filter (where lease_until is null)), 0)::float8 as age_s
from job where submitted_at is not null and status in ('pending', 'processing')
"""
_HELD = "select coalesce(sum(amount), 0)::float8 from credit_hold where state = 'open'"
_LIVE = "select status, count(*) as sessions from live_session where status <> 'ended' group by status"
_WEBHOOKS = """
select count(*) as due, coalesce(extract(epoch from max(now() - next_at)), 0)::float8 as age_s
from webhook_delivery where state = 'waiting' and next_at < now()
"""
_STORED = """
select 'uploads' as what, coalesce(sum(size), 0)::float8 as bytes from upload
union all
select 'results', coalesce(sum((artifact ->> 'size')::bigint), 0)::float8
from job, jsonb_array_elements(job.artifacts) artifact
union all
select 'cache', coalesce(sum(size), 0)::float8 from cached_result
"""


@dataclass(frozen=True, slots=True)
class Queue:
    """Jobs that wait for a worker, or are with one."""

    waiting: int
    processing: int
    late: int
    """Whose worker gave no sign of life in time; another takes them."""
    age_s: float
    """How long the one that waits longest has waited."""


class ServerState:
    """Fills `metrics.STATE`. Methods raise DependencyUnavailable while Postgres is away."""

    def __init__(self, database: Database, storage_url: str) -> None:
        self._database = database
        self._directory = local_directory(storage_url)
        self._stored: dict[str, float] = {}
        self._stored_at = float("-inf")

    async def queue(self) -> Queue:
        """The jobs' queue now."""
        row = await self._database.fetchrow(_QUEUE)
        return Queue(**dict(row)) if row is not None else Queue(0, 0, 0, 0.0)

    async def measure(self) -> None:
        """Ask, and set every gauge that comes from there."""
        jobs = await self._database.fetch(_JOBS)
        queue = await self.queue()
        held = await self._database.fetchval(_HELD)
        webhooks = await self._database.fetchrow(_WEBHOOKS)
        live = await self._database.fetch(_LIVE)
        stored = await self._stored_bytes()
        free = await self.free_bytes()
        # Nothing is awaited from here on: nobody sees half of it.
        metrics.JOBS.clear()
        for row in jobs:
            metrics.JOBS.labels(row["kind"], row["status"]).set(row["jobs"])
        metrics.LIVE_SESSIONS.clear()
        for row in live:
            metrics.LIVE_SESSIONS.labels(row["status"]).set(row["sessions"])
        metrics.QUEUE_JOBS.set(queue.waiting)
        metrics.QUEUE_AGE.set(queue.age_s)
        metrics.QUEUE_LATE_LEASES.set(queue.late)
        metrics.CREDITS_HELD.set(held)
        if webhooks is not None:
            metrics.WEBHOOKS_DUE.set(webhooks["due"])
            metrics.WEBHOOKS_DUE_AGE.set(webhooks["age_s"])
        for what, size in stored.items():
            metrics.STORED_BYTES.labels(what).set(size)
        if free is not None:
            metrics.STORAGE_FREE_BYTES.labels("objects").set(free)

    async def free_bytes(self) -> int | None:
        """What is left on the disk of a local storage; None for one over a network, or before it exists."""
        if self._directory is None:
            return None
        try:
            return (await asyncio.to_thread(shutil.disk_usage, self._directory)).free
        except OSError:
            return None

    async def _stored_bytes(self) -> dict[str, float]:
        if time.monotonic() - self._stored_at > STORED_EVERY_S:
            rows = await self._database.fetch(_STORED)
            self._stored = {row["what"]: row["bytes"] for row in rows}
            self._stored_at = time.monotonic()
        return self._stored


def local_directory(storage_url: str) -> Path | None:
    """The folder of a `file:` address; None for others."""
    parts = urlsplit(storage_url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None
