"""Whatever happens to a job under a worker, it ends once or is handed on, and nothing is left behind."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from octavia_stream.accounts.account import Account
from octavia_stream.config import WorkerSettings
from octavia_stream.dubbing.checkpoints import Checkpoints
from octavia_stream.dubbing.progress import Emit
from octavia_stream.errors import MediaProcessLost, NoSpeech, StorageUnavailable
from octavia_stream.events.event import Cancelled, Completed, Failed, Progress, Started, Warned
from octavia_stream.jobs.artifacts import FinishedJob
from octavia_stream.jobs.job import Artifact, Claim, Job, JobStatus
from octavia_stream.jobs.worker import DISK_FULL, INTERNAL_ERROR, JobRunner, JobWorker
from octavia_stream.runtime import Runtime

pytestmark = pytest.mark.services

MakeJob = Callable[[], Awaitable[Job]]
RESULT = FinishedJob([Artifact("dub.mp4", "k", "video/mp4", 1, "0" * 64)], {"fit": 1})


@pytest.fixture(scope="module")
def quick(runtime: Runtime) -> Runtime:
    """The same stores, for a worker that looks often."""
    # Nobody loses a lease because the machine is slow: where one must end, the test says so.
    worker = WorkerSettings(lease_s=60.0, heartbeat_s=0.1, poll_s=0.1, concurrent_jobs=2)
    return dataclasses.replace(runtime, settings=runtime.settings.model_copy(update={"worker": worker}))


@asynccontextmanager
async def working(runtime: Runtime, runner: JobRunner) -> AsyncIterator[JobWorker]:
    worker = JobWorker(runtime, runner, "test-worker")
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.drain()
        async with asyncio.timeout(20):
            await running


async def ended(runtime: Runtime, job: Job, *statuses: JobStatus) -> Job:
    wanted = statuses or ("completed", "failed", "cancelled")
    async with asyncio.timeout(20):
        while True:
            now = await runtime.jobs.get(job.id, job.owner_id)
            if now.status in wanted:
                return now
            await asyncio.sleep(0.05)


async def told(runtime: Runtime, job_id: UUID) -> list[type[object]]:
    return [type(record.event) for record in await runtime.jobs.events_after(job_id, 0)]


async def succeed(claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> FinishedJob:
    (scratch / "file").write_text("temporary")
    emit(Warned("test", "a warning"))
    for percent in range(100):
        emit(Progress("TRANSCRIBING", float(percent), {}))
    return RESULT


async def test_a_job_is_claimed_done_and_told(quick: Runtime, submitted: MakeJob) -> None:
    job = await submitted()
    async with working(quick, succeed):
        done = await ended(quick, job)
    assert done.status == "completed"
    assert [artifact.name for artifact in done.artifacts] == ["dub.mp4"]
    assert done.report == {"fit": 1}
    events = await told(quick, job.id)
    assert events[-1] is Completed
    assert events.count(Started) == 1
    assert events.count(Warned) == 1
    assert 1 <= events.count(Progress) < 5


async def test_a_refusal_ends_the_job_with_its_sentence(quick: Runtime, submitted: MakeJob) -> None:
    async def refuse(claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> FinishedJob:
        # Concurrent stages raise groups.
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(30))
            group.create_task(_raise(NoSpeech("nothing is said")))
        return RESULT

    job = await submitted()
    async with working(quick, refuse):
        done = await ended(quick, job)
    assert (done.status, done.error_code, done.error_message) == ("failed", "no_speech", "nothing is said")
    assert (await told(quick, job.id))[-1] is Failed


async def _raise(error: Exception) -> None:
    raise error


async def test_a_defect_ends_the_job_without_showing_itself(quick: Runtime, submitted: MakeJob) -> None:
    async def crash(claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> FinishedJob:
        raise RuntimeError("secret detail")

    job = await submitted()
    async with working(quick, crash):
        done = await ended(quick, job)
    assert (done.status, done.error_message) == ("failed", INTERNAL_ERROR)


@pytest.mark.parametrize(("losses", "status"), [(2, "completed"), (3, "failed")])
async def test_a_killed_reader_of_media_costs_a_run_and_only_again_and_again_the_job(
    quick: Runtime, submitted: MakeJob, losses: int, status: JobStatus
) -> None:
    runs: list[int] = []

    async def lose(claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> FinishedJob:
        runs.append(claim.epoch)
        if len(runs) <= losses:
            raise MediaProcessLost
        return RESULT

    job = await submitted()
    async with working(quick, lose):
        done = await ended(quick, job)
    assert (done.status, len(runs)) == (status, 3)


async def test_a_full_disk_is_told_as_such(quick: Runtime, submitted: MakeJob) -> None:
    async def write(claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> FinishedJob:
        await asyncio.to_thread(Path("/dev/full").write_bytes, b"speech")
        return RESULT

    job = await submitted()
    async with working(quick, write):
        done = await ended(quick, job)
    assert (done.status, done.error_code, done.error_message) == ("failed", "storage_full", DISK_FULL)


async def test_a_cancelled_job_stops_at_the_next_heartbeat(quick: Runtime, submitted: MakeJob) -> None:
    stopped = asyncio.Event()

    async def endless(claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> FinishedJob:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return RESULT

    job = await submitted()
    async with working(quick, endless):
        await ended(quick, job, "processing")
        await quick.jobs.request_cancel(job.id, job.owner_id)
        done = await ended(quick, job)
    assert done.status == "cancelled"
    assert stopped.is_set()
    assert (await told(quick, job.id))[-1] is Cancelled


async def test_a_job_whose_lease_was_lost_is_left_alone(
    quick: Runtime, submitted: MakeJob, expire: Callable[[UUID], Awaitable[object]]
) -> None:
    started = asyncio.Event()
    stopped = asyncio.Event()

    async def endless(claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> FinishedJob:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return RESULT

    slow = WorkerSettings(lease_s=60.0, heartbeat_s=1.0, poll_s=0.1, concurrent_jobs=1)
    runtime = dataclasses.replace(quick, settings=quick.settings.model_copy(update={"worker": slow}))
    job = await submitted()
    async with working(runtime, endless):
        async with asyncio.timeout(10):
            await started.wait()
        taken = None
        while taken is None:
            # A heartbeat may come in between.
            await expire(job.id)
            taken = await quick.jobs.claim("another", 30)
        async with asyncio.timeout(10):
            await stopped.wait()
    now = await quick.jobs.get(job.id, job.owner_id)
    assert (now.status, now.epoch) == ("processing", taken.epoch)


async def test_draining_gives_running_jobs_back_at_once(quick: Runtime, submitted: MakeJob) -> None:
    started = asyncio.Event()

    async def endless(claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> FinishedJob:
        started.set()
        await asyncio.Event().wait()
        return RESULT

    job = await submitted()
    async with working(quick, endless):
        async with asyncio.timeout(10):
            await started.wait()
    claim = await quick.jobs.claim("another", 30)
    assert claim is not None
    assert claim.job.id == job.id


async def test_a_storage_that_is_away_hands_the_job_to_the_next_worker(quick: Runtime, submitted: MakeJob) -> None:
    epochs: list[int] = []

    async def twice(claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> FinishedJob:
        epochs.append(claim.epoch)
        if len(epochs) == 1:
            raise StorageUnavailable
        return RESULT

    job = await submitted()
    async with working(quick, twice):
        done = await ended(quick, job)
    assert done.status == "completed"
    assert len(epochs) == 2
    assert epochs[0] < epochs[1]


async def test_no_more_jobs_run_at_once_than_set_and_no_scratch_is_left(quick: Runtime, submitted: MakeJob) -> None:
    running = 0
    most = 0
    two = asyncio.Event()

    async def count(claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> FinishedJob:
        nonlocal running, most
        (scratch / "big").write_bytes(b"x" * 1000)
        running += 1
        most = max(most, running)
        if running == 2:
            two.set()
        async with asyncio.timeout(20):
            await two.wait()
        # Time for a third.
        await asyncio.sleep(0.2)
        running -= 1
        return RESULT

    jobs = [await submitted() for _ in range(5)]
    async with working(quick, count):
        for job in jobs:
            assert (await ended(quick, job)).status == "completed"
    assert most == 2
    assert list((quick.settings.home / "scratch").iterdir()) == []


async def test_scratch_of_a_killed_worker_is_removed_by_the_next(quick: Runtime, submitted: MakeJob) -> None:
    abandoned = quick.settings.home / "scratch" / "worker-dead"
    (abandoned / "job").mkdir(parents=True)
    job = await submitted()
    async with working(quick, succeed):
        await ended(quick, job)
        assert not abandoned.exists()


async def test_a_tenth_job_is_taken_while_long_ones_fill_the_worker(
    quick: Runtime, submitted: MakeJob, newcomer: MakeJob, owner: Account
) -> None:
    """Four long jobs of one owner, of which two run; what nine others ask for need not wait for them."""
    long_over = asyncio.Event()

    async def run(claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> FinishedJob:
        if claim.job.owner_id == owner.id:
            await long_over.wait()
        return RESULT

    films = [await submitted() for _ in range(4)]
    async with working(quick, run):
        await ended(quick, films[0], "processing")
        await ended(quick, films[1], "processing")
        clips = [await newcomer() for _ in range(9)]
        assert {(await ended(quick, clip)).status for clip in clips} == {"completed"}
        states = [(await quick.jobs.get(film.id, owner.id)).status for film in films]
        assert states == ["processing", "processing", "pending", "pending"], "no place of newcomers is theirs"
        long_over.set()
        assert {(await ended(quick, film)).status for film in films} == {"completed"}
