"""Claim a job, keep its lease, dub, end it: whatever happens, every claimed job ends or is handed on."""

import asyncio
import errno
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from uuid import UUID

import msgspec
import structlog

from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.dubbing.checkpoints import Checkpoints
from octavia_stream.dubbing.progress import Emit
from octavia_stream.errors import (
    DependencyUnavailable,
    LeaseLost,
    MediaProcessLost,
    OctaviaError,
    StorageFull,
    StorageUnavailable,
)
from octavia_stream.events.event import JobEvent
from octavia_stream.jobs.checkpoints import JobCheckpoints
from octavia_stream.jobs.job import Artifact, Claim, JobStatus
from octavia_stream.jobs.measured_run import measured_run
from octavia_stream.jobs.quality import QualityReport
from octavia_stream.jobs.recorder import EventRecorder
from octavia_stream.jobs.removal import remove_leftovers
from octavia_stream.jobs.scratch import worker_scratch
from octavia_stream.runtime import Runtime
from octavia_stream.telemetry.metrics import JOBS_GIVEN_BACK, LEASES_LOST

log = structlog.get_logger()

INTERNAL_ERROR = "Something went wrong inside the server; its operator finds the reason in the worker's log."
DISK_FULL = "The disk of the server is full; run the job again when there is space, and it goes on from where it was."


class JobResult(Protocol):
    """What a finished job leaves behind."""

    @property
    def artifacts(self) -> list[Artifact]: ...

    @property
    def report(self) -> dict[str, object]: ...

    @property
    def quality(self) -> QualityReport | None: ...

    @property
    def manuscript(self) -> Artifact | None: ...


class JobRunner(Protocol):
    """Does the work of one job."""

    async def __call__(self, claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> JobResult: ...


class _Cancelled(Exception):
    """The user asked for the job to stop."""


class JobWorker:
    """Runs jobs until drained."""

    def __init__(self, runtime: Runtime, runner: JobRunner, worker_id: str) -> None:
        self._runtime = runtime
        self._settings = runtime.settings.worker
        self._run_job = runner
        self._worker_id = worker_id
        self._draining = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._media_lost: Counter[UUID] = Counter()
        """How often a job of this worker lost the process that reads its file."""

    async def run(self) -> None:
        """Claim and work until `drain`; then running jobs are given back and this returns."""
        with worker_scratch(self._runtime.settings.home / "scratch") as scratch:
            while not self._draining.is_set():
                claim = await self._claim()
                if claim is None:
                    await self._wait()
                else:
                    task = asyncio.create_task(self._work(claim, scratch), name=f"job-{claim.job.id}")
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
                    # One that is cancelled before it has begun would not give its job back.
                    await asyncio.sleep(0)
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def drain(self) -> None:
        """Take no more jobs, and give back those that run, so that another worker goes on with them."""
        self._draining.set()

    async def _claim(self) -> Claim | None:
        """A job there is room for. When the usual room is full of long ones, those who have none running get more."""
        settings = self._settings
        beyond = len(self._running) - settings.concurrent_jobs
        if beyond >= settings.newcomer_jobs:
            return None
        try:
            return await self._runtime.jobs.claim(self._worker_id, settings.lease_s, newcomers_only=beyond >= 0)
        except DependencyUnavailable as error:
            log.warning("claim_failed", reason=str(error))
            return None

    async def _wait(self) -> None:
        """Until there may be work: a hint, a place that became free, or the next poll."""
        hint = asyncio.create_task(self._runtime.redis.wait_for_work(self._settings.poll_s))
        drained = asyncio.create_task(self._draining.wait())
        try:
            await asyncio.wait({hint, drained}, timeout=self._settings.poll_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hint.cancel()
            drained.cancel()
            await asyncio.gather(hint, drained, return_exceptions=True)

    async def _work(self, claim: Claim, scratch: Path) -> None:
        """One job from claim to end. Never raises except when cancelled."""
        ids = {name: value for name, value in msgspec.structs.asdict(claim.origin).items() if value is not None}
        # The task is the job's own, so are its variables: every line of its log carries them.
        structlog.contextvars.bind_contextvars(job_id=str(claim.job.id), epoch=claim.epoch, **ids)
        log.info("job_taken", kind=claim.job.kind, attempt=claim.attempt)
        recorder = EventRecorder(self._runtime.jobs, claim)
        try:
            with measured_run(claim) as told:
                result = await self._watched(claim, scratch, recorder, told)
        except _Cancelled:
            await self._finish(claim, recorder, "cancelled")
        except LeaseLost:
            LEASES_LOST.inc()
            log.warning("lease_lost")
        except (DependencyUnavailable, StorageUnavailable) as error:
            # The job is sound, what it stands on is not: whoever claims it next goes on from its checkpoints.
            await self._give_back(claim, error)
        except MediaProcessLost as error:
            await self._give_back_or_fail(claim, recorder, error)
        except OctaviaError as error:
            log.info("job_failed", code=error.code)
            await self._finish(claim, recorder, "failed", (error.code, str(error), error.retryable))
        except asyncio.CancelledError:
            await asyncio.shield(self._release(claim))
            raise
        except OSError as error:
            await self._finish(claim, recorder, "failed", _of_the_machine(error))
        except Exception:  # a defect of ours must still end the job, and say where to look
            log.exception("job_crashed")
            await self._finish(claim, recorder, "failed", ("internal_error", INTERNAL_ERROR, True))
        else:
            self._media_lost.pop(claim.job.id, None)
            await self._finish(claim, recorder, "completed", result=result)
            log.info("job_done")

    async def _watched(self, claim: Claim, scratch: Path, recorder: EventRecorder, told: Emit) -> JobResult:
        """Run the job beside its heartbeat and its events; the first of them to fail stops the others."""
        checkpoints = JobCheckpoints(self._runtime.jobs, self._runtime.objects, claim)

        def emit(event: JobEvent) -> None:
            told(event)
            recorder.emit(event)

        with tempfile.TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as directory:
            try:
                async with asyncio.TaskGroup() as group:
                    beating = group.create_task(self._heartbeat(claim))
                    telling = group.create_task(recorder.run())
                    result = await self._run_job(claim, Path(directory), checkpoints, emit)
                    beating.cancel()
                    telling.cancel()
            except BaseExceptionGroup as errors:
                raise _decisive(errors) from errors
        return result

    async def _heartbeat(self, claim: Claim) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_s)
            try:
                if await self._runtime.jobs.heartbeat(claim, self._settings.lease_s):
                    raise _Cancelled
            except DependencyUnavailable as error:
                log.warning("heartbeat_failed", job_id=str(claim.job.id), reason=str(error))

    async def _finish(
        self,
        claim: Claim,
        recorder: EventRecorder,
        status: JobStatus,
        error: tuple[str, str, bool] | None = None,
        result: JobResult | None = None,
    ) -> None:
        """End the job in the store; a store that is away leaves it to whoever claims it when the lease ends."""
        artifacts = result.artifacts if result else []
        manuscript = result.manuscript if result else None
        try:
            await recorder.flush()
            await self._tidy(claim, [*artifacts, manuscript] if manuscript is not None else artifacts)
            crash_point(CrashPoint.LEFTOVERS_REMOVED)
            await self._runtime.jobs.finish(
                claim,
                status,
                error=error,
                artifacts=artifacts,
                report=result.report if result else None,
                quality=result.quality if result else None,
                manuscript=manuscript,
            )
        except (LeaseLost, DependencyUnavailable) as lost:
            log.warning("finish_failed", job_id=str(claim.job.id), reason=str(lost))

    async def _tidy(self, claim: Claim, artifacts: list[Artifact]) -> None:
        """Remove what lost workers left of the job; a storage that fails is no reason to fail the job."""
        try:
            await remove_leftovers(self._runtime.jobs, self._runtime.objects, claim, artifacts)
        except (StorageUnavailable, StorageFull) as error:
            log.warning("leftovers_kept", job_id=str(claim.job.id), reason=str(error))

    async def _give_back(self, claim: Claim, error: OctaviaError) -> None:
        JOBS_GIVEN_BACK.inc()
        log.warning("job_given_back", reason=str(error))
        await asyncio.sleep(self._settings.poll_s)
        await self._release(claim)

    async def _give_back_or_fail(self, claim: Claim, recorder: EventRecorder, error: MediaProcessLost) -> None:
        """A process that was killed once is no fault of the file's; one that is killed every time is."""
        job_id = claim.job.id
        self._media_lost[job_id] += 1
        if self._media_lost[job_id] < self._settings.chunk_attempts:
            await self._give_back(claim, error)
            return
        del self._media_lost[job_id]
        await self._finish(claim, recorder, "failed", (error.code, str(error), error.retryable))

    async def _release(self, claim: Claim) -> None:
        with suppress(LeaseLost, DependencyUnavailable):
            await self._runtime.jobs.release(claim)


def _of_the_machine(error: OSError) -> tuple[str, str, bool]:
    """What a job fails with when the machine refuses something; its disk may be full, for scratch lies there."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        log.warning("job_failed", code=StorageFull.code)
        return StorageFull.code, DISK_FULL, StorageFull.retryable
    log.error("job_crashed", exc_info=error)
    return "internal_error", INTERNAL_ERROR, True


def _decisive(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Which of several errors says what became of the job: lost, then cancelled, then whatever failed first."""
    flat = list(_leaves(errors))
    for kind in (LeaseLost, _Cancelled, OctaviaError):
        for error in flat:
            if isinstance(error, kind):
                return error
    return flat[0]


def _leaves(errors: BaseExceptionGroup[BaseException]) -> "list[BaseException]":
    leaves: list[BaseException] = []
    for error in errors.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
