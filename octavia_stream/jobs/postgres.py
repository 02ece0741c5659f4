"""Jobs in Postgres: the truth that survives every worker, every queue and every cache."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

import msgspec

from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.database.pool import Connection, Database, Row
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.dubbing.edits import Edit
from octavia_stream.errors import Conflict, LeaseLost, NotFound
from octavia_stream.events.event import (
    Cancelled,
    Completed,
    Failed,
    JobEvent,
    JobEventRecord,
    Progress,
    QualityWarned,
    Started,
    Submitted,
    Warned,
)
from octavia_stream.events.feed import Head
from octavia_stream.jobs import queries
from octavia_stream.jobs.charges import Charges, NoCharges
from octavia_stream.jobs.job import TERMINAL, Artifact, Claim, Job, JobFilter, JobKind, JobOptions, JobOrigin, JobStatus
from octavia_stream.jobs.notices import Notices, Silence
from octavia_stream.jobs.quality import QualityReport
from octavia_stream.jobs.versions import Spans
from octavia_stream.telemetry.context import request_id
from octavia_stream.telemetry.metrics import EVENTS_APPENDED, JOBS_ENDED, JOBS_SUBMITTED
from octavia_stream.telemetry.tracing import traceparent
from octavia_stream.webhooks.outbox import add_job_messages

NO_TIERS: Mapping[str, int] = {}
MAX_ATTEMPTS = 5
"""A job that takes its worker down every time must not do so for ever."""


class EventPublisher(Protocol):
    """Tells the impatient. Whoever misses it finds the same in Postgres, so it never raises."""

    async def publish(self, job_id: UUID, records: Sequence[JobEventRecord]) -> None:
        """Events of one job, after their transaction."""
        ...

    async def notify_work(self) -> None:
        """A job waits for a worker."""
        ...


class PostgresJobStore:
    """`JobStore` on Postgres. All methods raise DependencyUnavailable while it is away."""

    def __init__(
        self,
        database: Database,
        publisher: EventPublisher,
        charges: Charges | None = None,
        notices: Notices | None = None,
    ) -> None:
        """charges: what jobs cost; None: nothing. notices: who is told of their ends; None: nobody."""
        self._database = database
        self._publisher = publisher
        self._charges = charges or NoCharges()
        self._notices = notices or Silence()

    async def create(
        self,
        owner_id: UUID,
        kind: JobKind,
        upload_id: UUID,
        options: JobOptions,
        job_id: UUID | None = None,
        created_by: UUID | None = None,
    ) -> Job:
        row = await self._database.fetchrow(
            queries.CREATE, job_id or uuid7(), owner_id, kind, upload_id, options, created_by or owner_id, request_id()
        )
        if row is None and job_id is not None:
            # Made before, by whoever had this id then.
            row = await self._database.fetchrow(queries.GET, job_id, owner_id)
        if row is None:
            raise NotFound("There is no such upload, or it is not yours.")
        return _job(row)

    async def get(self, job_id: UUID, owner_id: UUID) -> Job:
        row = await self._database.fetchrow(queries.GET, job_id, owner_id)
        return _job(_found(row))

    async def list_jobs(
        self, owner_id: UUID, limit: int, before: UUID | None = None, only: JobFilter | None = None
    ) -> list[Job]:
        wanted = only or JobFilter()
        rows = await self._database.fetch(queries.LIST, owner_id, limit, before, *msgspec.structs.astuple(wanted))
        return [_job(row) for row in rows]

    async def submit(self, job_id: UUID, owner_id: UUID) -> Job:
        async with self._database.transaction() as connection:
            job = _job(_found(await connection.fetchrow(queries.LOCK_OWNED, job_id, owner_id)))
            if job.status == "cancelled":
                raise Conflict("This job was cancelled; create a new one.")
            if job.submitted_at is not None:
                return job
            await self._charges.submitted(connection, job)
            crash_point(CrashPoint.CREDITS_RESERVED)
            await connection.fetchrow(queries.SUBMIT, job_id, request_id(), traceparent())
            records = await _append(connection, job_id, [Submitted()])
            job = _job(_found(await connection.fetchrow(queries.GET, job_id, owner_id)))
        crash_point(CrashPoint.JOB_QUEUED)
        await self._publisher.publish(job_id, records)
        await self._publisher.notify_work()
        return job

    async def request_cancel(self, job_id: UUID, owner_id: UUID) -> Job:
        records: list[JobEventRecord] = []
        async with self._database.transaction() as connection:
            row = _found(await connection.fetchrow(queries.LOCK_OWNED, job_id, owner_id))
            if row["status"] in TERMINAL:
                raise Conflict(f"This job is already {row['status']}.")
            await connection.execute(queries.REQUEST_CANCEL, job_id)
            if not row["held"]:
                records = await self._end(connection, job_id, "cancelled", Cancelled())
            job = _job(_found(await connection.fetchrow(queries.GET, job_id, owner_id)))
        crash_point(CrashPoint.JOB_CANCELLED)
        await self._publisher.publish(job_id, records)
        return job

    async def set_tags(self, job_id: UUID, owner_id: UUID, tags: Sequence[str]) -> Job:
        return _job(_found(await self._database.fetchrow(queries.SET_TAGS, job_id, owner_id, list(tags))))

    async def retry(self, job_id: UUID, owner_id: UUID) -> Job:
        async with self._database.transaction() as connection:
            row = _found(await connection.fetchrow(queries.LOCK_OWNED, job_id, owner_id))
            if row["status"] not in ("failed", "cancelled"):
                raise Conflict(
                    f"Only a job that failed or was cancelled can be run again; this one is {row['status']}."
                )
            again = await connection.fetchrow(queries.RETRY, job_id, request_id(), traceparent())
            await self._charges.submitted(connection, _job(_found(again)))
            records = await _append(connection, job_id, [Submitted(row["version"] + 1)])
            job = _job(_found(await connection.fetchrow(queries.GET, job_id, owner_id)))
        crash_point(CrashPoint.JOB_RETRIED)
        await self._publisher.publish(job_id, records)
        await self._publisher.notify_work()
        return job

    async def edit(self, job_id: UUID, owner_id: UUID, base: int, edits: Sequence[Edit], spans: Spans) -> Job:
        async with self._database.transaction() as connection:
            row = _found(await connection.fetchrow(queries.LOCK_OWNED, job_id, owner_id))
            _require_editable(row, base)
            await connection.execute(queries.FORGET_VERSION, job_id)
            await connection.execute(queries.ADD_VERSION, job_id, base, list(edits), spans)
            edited = _job(_found(await connection.fetchrow(queries.EDIT, job_id, request_id(), traceparent())))
            await self._charges.submitted(connection, edited)
            crash_point(CrashPoint.EDIT_RESERVED)
            records = await _append(connection, job_id, [Submitted(base + 1)])
            job = _job(_found(await connection.fetchrow(queries.GET, job_id, owner_id)))
        crash_point(CrashPoint.EDIT_QUEUED)
        await self._publisher.publish(job_id, records)
        await self._publisher.notify_work()
        return job

    async def delete(self, job_id: UUID, owner_id: UUID) -> None:
        async with self._database.transaction() as connection:
            row = _found(await connection.fetchrow(queries.LOCK_OWNED, job_id, owner_id))
            if row["status"] == "processing":
                raise Conflict("This job is running; cancel it first.")
            if row["status"] == "pending":
                await self._end(connection, job_id, "cancelled", Cancelled())
            await connection.execute(queries.DELETE, job_id)

    async def expired(self, days: int, limit: int, by_tier: Mapping[str, int] = NO_TIERS) -> list[UUID]:
        """Jobs that ended more than `days` days ago, those of longest ago first; 0: none for that.

        by_tier: days for owners of these tiers instead. An account may have chosen fewer for its own.
        """
        return [row["id"] for row in await self._database.fetch(queries.EXPIRED, days, dict(by_tier), limit)]

    async def delete_expired(self, job_id: UUID, days: int, by_tier: Mapping[str, int] = NO_TIERS) -> bool:
        """As `delete`, whosever it is; False when the job is no longer one that `expired` would find."""
        return await self._database.fetchval(queries.DELETE_EXPIRED, days, dict(by_tier), job_id) is not None

    async def kept_keys(self, job_id: UUID) -> set[str]:
        return {row["key"] for row in await self._database.fetch(queries.KEPT_KEYS, job_id)}

    async def events_after(self, job_id: UUID, seq: int, limit: int = 500) -> list[JobEventRecord]:
        rows = await self._database.fetch(queries.EVENTS_AFTER, job_id, seq, limit)
        return [JobEventRecord(row["seq"], row["at"], msgspec.convert(row["data"], JobEvent)) for row in rows]

    async def quality(self, job_id: UUID, owner_id: UUID) -> QualityReport:
        kept = await self._database.fetchval(queries.QUALITY, job_id, owner_id)
        if kept is None:
            await self.get(job_id, owner_id)
            raise NotFound("Nothing is known of how good this job's result is: only dubs that completed are judged.")
        return msgspec.convert(kept, QualityReport)

    async def pace(self, kind: JobKind) -> float | None:
        """How many seconds a job of this kind has taken lately for a second of sound; None before the first."""
        pace = await self._database.fetchval(queries.PACE, kind)
        return float(pace) if pace is not None else None

    async def heads(self, job_ids: Iterable[UUID]) -> dict[UUID, Head]:
        """The newest event number of each job and whether it has ended; jobs that do not exist are left out."""
        rows = await self._database.fetch(queries.HEADS, list(job_ids))
        return {row["id"]: Head(row["last_seq"], row["ended"]) for row in rows}

    async def claim(self, worker_id: str, lease_s: float, *, newcomers_only: bool = False) -> Claim | None:
        while True:
            async with self._database.transaction() as connection:
                row = await connection.fetchrow(queries.LOCK_CLAIMABLE, newcomers_only)
                if row is None:
                    return None
                job_id = row["id"]
                ending = _ending_instead(row)
                if ending is not None:
                    claim = None
                    records = await self._end(connection, job_id, *ending)
                else:
                    claim, records = await _take(connection, job_id, worker_id, lease_s)
            crash_point(CrashPoint.JOB_CLAIMED)
            await self._publisher.publish(job_id, records)
            if claim is not None:
                return claim

    async def heartbeat(self, claim: Claim, lease_s: float) -> bool:
        asked = await self._database.fetchval(queries.HEARTBEAT, claim.job.id, claim.epoch, lease_s)
        if asked is None:
            raise LeaseLost
        return bool(asked)

    async def release(self, claim: Claim) -> None:
        """As the port says. A claim that was lost is released already: nothing is raised."""
        await self._database.execute(queries.RELEASE, claim.job.id, claim.epoch)
        crash_point(CrashPoint.JOB_GIVEN_BACK)
        await self._publisher.notify_work()

    async def append(self, claim: Claim, events: Sequence[JobEvent]) -> None:
        """As the port says; `Warned` also joins the job's warnings, once."""
        if not events:
            return
        async with self._database.transaction() as connection:
            held = await _hold(connection, claim)
            events = await _reflect(connection, claim.job.id, held, events)
            records = await _append(connection, claim.job.id, events)
        crash_point(CrashPoint.EVENTS_RECORDED)
        await self._publisher.publish(claim.job.id, records)

    async def begin_chunk(self, claim: Claim, stage: Stage, index: int, digest: str) -> int:
        attempt = await self._database.fetchval(queries.BEGIN_CHUNK, claim.job.id, claim.epoch, stage, index, digest)
        if attempt is None:
            raise LeaseLost
        return int(attempt)

    async def finish_chunk(self, claim: Claim, stage: Stage, index: int, digest: str, key: str, sha256: str) -> None:
        done = await self._database.fetchval(
            queries.FINISH_CHUNK, claim.job.id, claim.epoch, stage, index, digest, key, sha256
        )
        if done is None:
            raise LeaseLost

    async def chunk_result(self, job_id: UUID, stage: Stage, index: int, digest: str) -> tuple[str, str] | None:
        row = await self._database.fetchrow(queries.CHUNK_RESULT, job_id, stage, index, digest)
        return None if row is None else (row["key"], row["sha256"])

    async def finish(
        self,
        claim: Claim,
        status: JobStatus,
        *,
        error: tuple[str, str, bool] | None = None,
        artifacts: Sequence[Artifact] = (),
        report: dict[str, object] | None = None,
        quality: QualityReport | None = None,
        manuscript: Artifact | None = None,
    ) -> None:
        if status not in TERMINAL or (status == "failed") != (error is not None):
            raise ValueError("a job ends completed, cancelled, or failed with an error")
        event: JobEvent = Failed(*error) if error else Completed() if status == "completed" else Cancelled()
        async with self._database.transaction() as connection:
            held = await _hold(connection, claim)
            if status == "completed" and held["cancel_requested"]:
                status, event, artifacts, quality, manuscript = "cancelled", Cancelled(), (), None, None
            version = held["version"] + 1 if manuscript is not None else None
            if version is not None:
                event = Completed(version)
            if quality is not None:
                await connection.execute(queries.KEEP_QUALITY, claim.job.id, quality)
            told = [QualityWarned(quality.failed)] if quality is not None and quality.failed else []
            records = await self._end(connection, claim.job.id, status, event, artifacts, report, told, version)
            if version is not None:
                made = (manuscript, list(artifacts), report or {})
                statement = queries.FINISH_FIRST_VERSION if version == 1 else queries.FINISH_VERSION
                await connection.execute(statement, claim.job.id, version, *made)
        crash_point(CrashPoint.JOB_ENDED)
        await self._publisher.publish(claim.job.id, records)

    async def _end(
        self,
        connection: Connection,
        job_id: UUID,
        status: JobStatus,
        event: JobEvent,
        artifacts: Sequence[Artifact] = (),
        report: dict[str, Any] | None = None,
        told: Sequence[JobEvent] = (),
        version: int | None = None,
    ) -> list[JobEventRecord]:
        """End a locked job: the row, its last event after those to be told before, and what it cost.

        version: of its results now; None: that which it was.
        """
        code, message = (event.code, event.message) if isinstance(event, Failed) else (None, None)
        row = _found(
            await connection.fetchrow(
                queries.END, job_id, status, code, message, list(artifacts), report or {}, version
            )
        )
        await self._charges.ended(connection, _job(row))
        await self._notices.ended(connection, _job(row))
        crash_point(CrashPoint.CREDITS_CAPTURED)
        JOBS_ENDED.labels(row["kind"], status).inc()
        return await _append(connection, job_id, [*told, event])


def _job(row: Row) -> Job:
    # The column says which options these are.
    return msgspec.convert({**row, "options": {**row["options"], "kind": row["kind"]}}, Job)


def _require_editable(row: Row, base: int) -> None:
    """Raises Conflict."""
    status, newest = row["status"], row["version"]
    if status not in TERMINAL:
        raise Conflict(f"The job is {status}; edit it when it has ended, or cancel it.")
    if not newest:
        raise Conflict("The job has no segments that could be edited.")
    if newest != base:
        raise Conflict(f"Version {base} was read, and the newest is {newest}; read its segments again.")


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound("There is no such job, or it is not yours.")
    return row


async def _hold(connection: Connection, claim: Claim) -> Row:
    """Lock the claimed row, if it is still the claim's."""
    row = await connection.fetchrow(queries.LOCK_HELD, claim.job.id, claim.epoch)
    if row is None:
        raise LeaseLost
    return row


def _ending_instead(row: Row) -> tuple[JobStatus, JobEvent] | None:
    """What becomes of a claimable job that must not run again."""
    if row["cancel_requested"]:
        return "cancelled", Cancelled()
    if row["attempts"] >= MAX_ATTEMPTS:
        message = f"The job was given up after {MAX_ATTEMPTS} workers were lost while they worked on it."
        return "failed", Failed("attempts_exhausted", message, retryable=True)
    return None


async def _take(
    connection: Connection, job_id: UUID, worker_id: str, lease_s: float
) -> tuple[Claim, list[JobEventRecord]]:
    row = _found(await connection.fetchrow(queries.CLAIM, job_id, worker_id, lease_s))
    records = await _append(connection, job_id, [Started(row["attempts"])])
    job = msgspec.structs.replace(_job(row), last_seq=records[-1].seq)
    origin = JobOrigin(row["request_id"], row["created_request_id"], row["traceparent"])
    return Claim(job, worker_id, job.epoch, row["attempts"], origin), records


async def _reflect(connection: Connection, job_id: UUID, held: Row, events: Sequence[JobEvent]) -> Sequence[JobEvent]:
    """Bring the row up to what the events say; percent, in row and events, never falls."""
    percent: float = held["percent"]
    warnings: list[str] = held["warnings"]
    newest: Progress | None = None
    told: list[JobEvent] = []
    for event in events:
        if isinstance(event, Progress):
            percent = max(percent, min(event.percent, 100.0))
            newest = msgspec.structs.replace(event, percent=percent)
            told.append(newest)
            continue
        if isinstance(event, Warned) and event.message not in warnings:
            warnings = [*warnings, event.message]
        told.append(event)
    if newest is not None:
        await connection.execute(queries.PROGRESS, job_id, newest.phase, newest.percent, newest.stages)
    if warnings != held["warnings"]:
        await connection.execute(queries.WARNINGS, job_id, warnings)
    return told


async def _append(connection: Connection, job_id: UUID, events: Sequence[JobEvent]) -> list[JobEventRecord]:
    """Number and store the events of a locked job."""
    row = _found(await connection.fetchrow(queries.ADVANCE_SEQ, job_id, len(events)))
    first = row["last_seq"] - len(events) + 1
    records = [JobEventRecord(first + place, row["at"], event) for place, event in enumerate(events)]
    await connection.execute(
        queries.APPEND_EVENTS,
        job_id,
        row["at"],
        [record.seq for record in records],
        [event.__struct_config__.tag for event in events],
        list(events),
    )
    await add_job_messages(connection, job_id, records)
    for event in events:
        EVENTS_APPENDED.labels(event.__struct_config__.tag).inc()
        if isinstance(event, Submitted):
            JOBS_SUBMITTED.labels(row["kind"]).inc()
    return records
