"""Port: where jobs live. Postgres is the truth; `jobs/postgres.py` is the implementation."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.dubbing.edits import Edit
from octavia_stream.events.event import JobEvent, JobEventRecord
from octavia_stream.jobs.job import Artifact, Claim, Job, JobFilter, JobKind, JobOptions, JobStatus
from octavia_stream.jobs.quality import QualityReport
from octavia_stream.jobs.versions import Spans


class JobStore(Protocol):
    """Jobs, their chunk attempts and their events. Every change and its events are one transaction."""

    async def create(
        self,
        owner_id: UUID,
        kind: JobKind,
        upload_id: UUID,
        options: JobOptions,
        job_id: UUID | None = None,
        created_by: UUID | None = None,
    ) -> Job:
        """A new `pending` job. Raises NotFound when the upload is not the owner's.

        job_id: its id, when it was chosen before (a UUIDv7); creating it again gives the job that there is.
        created_by: the account that asks for it, when the owner is a team.
        """
        ...

    async def get(self, job_id: UUID, owner_id: UUID) -> Job:
        """Raises NotFound, also for another owner's job."""
        ...

    async def list_jobs(
        self, owner_id: UUID, limit: int, before: UUID | None = None, only: JobFilter | None = None
    ) -> list[Job]:
        """Newest first; `before` is the last id of the page before (ids are UUIDv7: they sort by time)."""
        ...

    async def submit(self, job_id: UUID, owner_id: UUID) -> Job:
        """Let workers have it. Submitting again is the same as once; raises Conflict on a cancelled job,
        InsufficientCredits when it costs more than the owner has."""
        ...

    async def request_cancel(self, job_id: UUID, owner_id: UUID) -> Job:
        """A pending job is cancelled at once, a running one when its worker notices; raises Conflict when ended."""
        ...

    async def set_tags(self, job_id: UUID, owner_id: UUID, tags: Sequence[str]) -> Job:
        """Call it otherwise, in any state. Raises NotFound."""
        ...

    async def retry(self, job_id: UUID, owner_id: UUID) -> Job:
        """Run a failed or cancelled job again from what it had finished; workers may have it at once.

        Raises Conflict for a job in another state, InsufficientCredits as `submit`.
        """
        ...

    async def edit(self, job_id: UUID, owner_id: UUID, base: int, edits: Sequence[Edit], spans: Spans) -> Job:
        """Make another version of a finished dub; workers may have it at once. What there is stays until then.

        base: the version that was read. spans: what is charged. An edit that failed or was cancelled gives way to it.
        Raises Conflict while the job runs or when there is a newer version, InsufficientCredits as `submit`.
        """
        ...

    async def delete(self, job_id: UUID, owner_id: UUID) -> None:
        """Forget a job that does not run, with its events and chunks; a waiting one is cancelled first.

        Its objects stay: see `jobs/removal.py`. Raises Conflict while a worker has it.
        """
        ...

    async def kept_keys(self, job_id: UUID) -> set[str]:
        """Where the job's finished chunks lie, and what its versions are made of."""
        ...

    async def events_after(self, job_id: UUID, seq: int, limit: int = 500) -> list[JobEventRecord]:
        """Events with a greater sequence number, in order."""
        ...

    async def claim(self, worker_id: str, lease_s: float, *, newcomers_only: bool = False) -> Claim | None:
        """Take a submitted job that nobody holds (SKIP LOCKED), or one whose lease ended: the oldest of those
        whose owners have the fewest running.

        newcomers_only: only of owners who have none running.
        Raises the job's epoch and appends `Started`. A job claimed more than `MAX_ATTEMPTS` times fails instead.
        """
        ...

    async def heartbeat(self, claim: Claim, lease_s: float) -> bool:
        """Renew the lease. Returns whether cancelling was asked. Raises LeaseLost."""
        ...

    async def release(self, claim: Claim) -> None:
        """Give the job back unfinished, so that another worker may take it at once (draining)."""
        ...

    async def append(self, claim: Claim, events: Sequence[JobEvent]) -> None:
        """Append events; `Progress` also updates the job's phase, percent and stages. Raises LeaseLost."""
        ...

    async def begin_chunk(self, claim: Claim, stage: Stage, index: int, digest: str) -> int:
        """Count an attempt at a chunk; returns which attempt it is. Raises LeaseLost."""
        ...

    async def finish_chunk(self, claim: Claim, stage: Stage, index: int, digest: str, key: str, sha256: str) -> None:
        """Record where a chunk's result lies. Raises LeaseLost."""
        ...

    async def chunk_result(self, job_id: UUID, stage: Stage, index: int, digest: str) -> tuple[str, str] | None:
        """(key, sha256) of a finished chunk with this digest, or None."""
        ...

    async def quality(self, job_id: UUID, owner_id: UUID) -> QualityReport:
        """How good the job's dubs are. Raises NotFound, also when nothing is known of that."""
        ...

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
        """End the job, once: status, artifacts, report and the terminal event in one transaction.

        quality: how good it is; an event tells, before the terminal one, where that is not good enough.

        error: (code, message, retryable). Raises LeaseLost; a cancel that came first wins over `completed`.
        """
        ...
