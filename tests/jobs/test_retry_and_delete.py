"""A job that ended badly runs again from where it was; a job that nobody wants is gone with all it owns."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from octavia_stream.errors import Conflict, LeaseLost, NotFound
from octavia_stream.events.event import Cancelled, Completed, Failed, Progress, Started, Submitted
from octavia_stream.jobs.checkpoints import JobCheckpoints
from octavia_stream.jobs.job import Artifact, Claim, Job
from octavia_stream.jobs.postgres import MAX_ATTEMPTS
from octavia_stream.jobs.removal import remove_job, remove_leftovers
from octavia_stream.runtime import Runtime

pytestmark = pytest.mark.services

MakeJob = Callable[[], Awaitable[Job]]
Expire = Callable[[UUID], Awaitable[object]]
LEASE_S = 30.0
ERROR = ("engine_unavailable", "The speech synthesis server broke on this call.", True)


async def _claim(runtime: Runtime) -> Claim:
    claim = await runtime.jobs.claim("w", LEASE_S)
    assert claim is not None
    return claim


async def _failed(runtime: Runtime, submitted: MakeJob) -> Claim:
    """A job that failed after it had finished one chunk."""
    await submitted()
    claim = await _claim(runtime)
    checkpoints = JobCheckpoints(runtime.jobs, runtime.objects, claim)
    await checkpoints.begin("transcribe", 0, "d")
    await checkpoints.save("transcribe", 0, "d", b"words")
    await runtime.jobs.append(claim, [Progress("TRANSCRIBING", 40.0, {})])
    await runtime.jobs.finish(claim, "failed", error=ERROR)
    return claim


async def test_a_failed_job_goes_on_from_what_it_had_finished(runtime: Runtime, submitted: MakeJob) -> None:
    first = await _failed(runtime, submitted)
    job = await runtime.jobs.retry(first.job.id, first.job.owner_id)
    assert (job.status, job.error_code, job.error_message, job.finished_at) == ("pending", None, None, None)
    claim = await _claim(runtime)
    assert (claim.job.id, claim.attempt) == (first.job.id, 1)
    assert claim.epoch > first.epoch
    checkpoints = JobCheckpoints(runtime.jobs, runtime.objects, claim)
    assert await checkpoints.load("transcribe", 0, "d") == b"words"
    await runtime.jobs.append(claim, [Progress("TRANSCRIBING", 10.0, {})])
    await runtime.jobs.finish(claim, "completed")
    records = await runtime.jobs.events_after(job.id, 0)
    assert [type(record.event) for record in records] == [
        Submitted,
        Started,
        Progress,
        Failed,
        Submitted,
        Started,
        Progress,
        Completed,
    ]
    percents = [record.event.percent for record in records if isinstance(record.event, Progress)]
    assert percents == [40.0, 40.0], "it never falls"


async def test_attempts_are_counted_anew(runtime: Runtime, submitted: MakeJob, expire: Expire) -> None:
    job = await submitted()
    for _ in range(MAX_ATTEMPTS):
        await _claim(runtime)
        await expire(job.id)
    assert await runtime.jobs.claim("w", LEASE_S) is None
    await runtime.jobs.retry(job.id, job.owner_id)
    assert (await _claim(runtime)).attempt == 1


async def test_a_cancelled_job_can_be_run_again_whether_or_not_it_ever_ran(runtime: Runtime, pending: MakeJob) -> None:
    job = await pending()
    await runtime.jobs.request_cancel(job.id, job.owner_id)
    again = await runtime.jobs.retry(job.id, job.owner_id)
    assert (again.status, again.cancel_requested) == ("pending", False)
    claim = await _claim(runtime)
    await runtime.jobs.request_cancel(job.id, job.owner_id)
    await runtime.jobs.finish(claim, "cancelled")
    await runtime.jobs.retry(job.id, job.owner_id)
    await runtime.jobs.finish(await _claim(runtime), "completed")
    events = [type(record.event) for record in await runtime.jobs.events_after(job.id, 0)]
    assert (events.count(Cancelled), events.count(Completed), events[-1]) == (2, 1, Completed)


async def test_only_what_ended_badly_is_run_again_and_only_once(runtime: Runtime, pending: MakeJob) -> None:
    job = await pending()
    with pytest.raises(Conflict):
        await runtime.jobs.retry(job.id, job.owner_id)
    await runtime.jobs.submit(job.id, job.owner_id)
    claim = await _claim(runtime)
    with pytest.raises(Conflict):
        await runtime.jobs.retry(job.id, job.owner_id)
    await runtime.jobs.finish(claim, "failed", error=ERROR)
    tries = await asyncio.gather(*(runtime.jobs.retry(job.id, job.owner_id) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(one, Job) for one in tries) == 1
    assert sum(isinstance(one, Conflict) for one in tries) == 4
    await runtime.jobs.finish(await _claim(runtime), "completed")
    with pytest.raises(Conflict):
        await runtime.jobs.retry(job.id, job.owner_id)


async def test_a_worker_of_the_run_before_can_change_nothing(runtime: Runtime, submitted: MakeJob) -> None:
    first = await _failed(runtime, submitted)
    await runtime.jobs.retry(first.job.id, first.job.owner_id)
    second = await _claim(runtime)
    assert await remove_leftovers(runtime.jobs, runtime.objects, first, []) == 0
    with pytest.raises(LeaseLost):
        await runtime.jobs.finish(first, "completed")
    await runtime.jobs.finish(second, "completed")


async def test_what_a_lost_worker_never_recorded_goes_with_the_end(runtime: Runtime, submitted: MakeJob) -> None:
    claim = await _failed(runtime, submitted)
    prefix = f"jobs/{claim.job.id}"
    kept = {listed.key async for listed in runtime.objects.list(prefix)}
    result = Artifact("dub.mp4", f"{prefix}/results/{claim.epoch}/dub.mp4", "video/mp4", 1, "0" * 64)
    later = f"{prefix}/chunks/translate/0-d-{claim.epoch + 1}"
    strange = f"{prefix}/hls/1.m4s"
    for key in (result.key, later, strange):
        await runtime.objects.put(key, b"x")
    for key in (f"{prefix}/results/0/dub.mp4", f"{prefix}/chunks/translate/0-d-{claim.epoch}"):
        await runtime.objects.put(key, b"x")
    assert await remove_leftovers(runtime.jobs, runtime.objects, claim, [result]) == 2
    assert {listed.key async for listed in runtime.objects.list(prefix)} == kept | {result.key, later, strange}


async def test_a_job_goes_with_everything_it_owns(runtime: Runtime, submitted: MakeJob) -> None:
    job = (await _failed(runtime, submitted)).job
    await remove_job(runtime.jobs, runtime.objects, job.id, job.owner_id)
    with pytest.raises(NotFound):
        await runtime.jobs.get(job.id, job.owner_id)
    assert [listed async for listed in runtime.objects.list(f"jobs/{job.id}")] == []
    assert await runtime.pool.fetchval("select count(*) from chunk where job_id = $1", job.id) == 0
    assert await runtime.pool.fetchval("select count(*) from job_event where job_id = $1", job.id) == 0
    with pytest.raises(NotFound):
        await remove_job(runtime.jobs, runtime.objects, job.id, job.owner_id)


async def test_a_running_job_is_not_removed_and_a_waiting_one_is(runtime: Runtime, submitted: MakeJob) -> None:
    running = await submitted()
    claim = await _claim(runtime)
    with pytest.raises(Conflict, match="cancel it first"):
        await remove_job(runtime.jobs, runtime.objects, running.id, running.owner_id)
    waiting = await submitted()
    await remove_job(runtime.jobs, runtime.objects, waiting.id, waiting.owner_id)
    assert await runtime.jobs.claim("w", LEASE_S) is None
    await runtime.jobs.finish(claim, "completed")
