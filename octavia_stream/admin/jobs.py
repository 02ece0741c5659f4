"""Everybody's jobs, without what is in them."""

from datetime import datetime
from uuid import UUID

import msgspec

from octavia_stream.admin.acts import Actor, ActStore, Deed
from octavia_stream.database.pool import Database
from octavia_stream.errors import NotFound
from octavia_stream.jobs.job import JobKind, JobStatus
from octavia_stream.jobs.postgres import PostgresJobStore

_JOB = """
id, owner_id, created_by, kind, status, created_at, submitted_at, started_at, finished_at, cancel_requested, phase,
percent, attempts, epoch, runs, worker_id, lease_until, error_code, error_message, request_id, created_request_id
"""
_LIST = f"""
select {_JOB} from job
where ($2::uuid is null or id < $2) and ($3::uuid is null or owner_id = $3) and ($4::text is null or kind = $4)
    and ($5::text is null or status = $5) and ($6::text is null or error_code = $6)
    and ($7::text is null or $7 in (request_id, created_request_id))
order by id desc limit $1
"""  # noqa: S608  (constants of this file)
_GET = f"select {_JOB} from job where id = $1"  # noqa: S608
_WAITING = f"""
select {_JOB} from job where submitted_at is not null and status in ('pending', 'processing') and lease_until is null
order by submitted_at, id limit $1
"""  # noqa: S608


class OperatedJob(msgspec.Struct, frozen=True):
    """A job, for administrators: how it fares, and neither what it was asked for nor what it made."""

    id: UUID
    owner_id: UUID
    """An account or a team."""
    created_by: UUID | None
    kind: JobKind
    status: JobStatus
    created_at: datetime
    submitted_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool
    phase: str | None
    percent: float
    attempts: int
    """Workers that took it in this run."""
    epoch: int
    runs: int
    worker_id: str | None
    """Who has it now: host and process."""
    lease_until: datetime | None
    error_code: str | None
    error_message: str | None
    request_id: str | None
    """Of the request that had it processed; its log lines carry it, in the api, the worker and the replicas."""
    created_request_id: str | None


class JobFilter(msgspec.Struct, frozen=True):
    """Which jobs are wanted; None: all."""

    owner_id: UUID | None = None
    kind: JobKind | None = None
    status: JobStatus | None = None
    error_code: str | None = None
    request_id: str | None = None


class JobDirectory:
    """Methods raise DependencyUnavailable while Postgres is away."""

    def __init__(self, database: Database, jobs: PostgresJobStore, acts: ActStore) -> None:
        self._database = database
        self._jobs = jobs
        self._acts = acts

    async def list_jobs(self, limit: int, before: UUID | None, only: JobFilter) -> list[OperatedJob]:
        """Newest first; `before` is the last id of the page before."""
        rows = await self._database.fetch(_LIST, limit, before, *msgspec.structs.astuple(only))
        return [msgspec.convert(dict(row), OperatedJob) for row in rows]

    async def waiting(self, limit: int) -> list[OperatedJob]:
        """Those that wait for a worker, in the order in which they are taken."""
        return [msgspec.convert(dict(row), OperatedJob) for row in await self._database.fetch(_WAITING, limit)]

    async def get(self, job_id: UUID) -> OperatedJob:
        """Raises NotFound."""
        row = await self._database.fetchrow(_GET, job_id)
        if row is None:
            raise NotFound("There is no such job.")
        return msgspec.convert(dict(row), OperatedJob)

    async def cancel(self, actor: Actor, job_id: UUID, reason: str) -> OperatedJob:
        """As its owner would. Raises NotFound, Conflict when it has ended."""
        job = await self.get(job_id)
        await self._acts.write_down(actor, Deed("cancel_job", str(job_id), reason))
        await self._jobs.request_cancel(job_id, job.owner_id)
        return await self.get(job_id)

    async def retry(self, actor: Actor, job_id: UUID, reason: str) -> OperatedJob:
        """As its owner would, at the owner's cost. Raises NotFound, Conflict, InsufficientCredits."""
        job = await self.get(job_id)
        await self._acts.write_down(actor, Deed("retry_job", str(job_id), reason))
        await self._jobs.retry(job_id, job.owner_id)
        return await self.get(job_id)
