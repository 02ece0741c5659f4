"""What has served its time goes; what waits, runs or is needed stays."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from octavia_stream.accounts.account_settings import AccountSettingsStore
from octavia_stream.config import RetentionSettings
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import NotFound
from octavia_stream.jobs import retention
from octavia_stream.jobs.job import Job
from octavia_stream.jobs.retention import Cleaner, Freed
from octavia_stream.runtime import Runtime
from octavia_stream.uploads.upload import Upload, upload_key

pytestmark = pytest.mark.services

MakeJob = Callable[[], Awaitable[Job]]


def cleaner(
    runtime: Runtime, *, results_days: int = 0, uploads_days: int = 0, by_tier: dict[str, int] | None = None
) -> Cleaner:
    settings = RetentionSettings(
        results_days=results_days, uploads_days=uploads_days, results_days_by_tier=by_tier or {}
    )
    return Cleaner(runtime.pool, runtime.jobs, runtime.uploads, runtime.objects, settings)


async def _age(runtime: Runtime, job_id: UUID, days: int) -> None:
    await runtime.pool.execute(
        "update job set finished_at = now() - make_interval(days => $2), created_at = now() - interval '1 year' "
        "where id = $1",
        job_id,
        days,
    )


async def _ended(runtime: Runtime, submitted: MakeJob, days_ago: int) -> Job:
    job = await submitted()
    claim = await runtime.jobs.claim("w", 30.0)
    assert claim is not None
    await runtime.objects.put(f"jobs/{job.id}/results/1/dub.mp4", b"12345")
    await runtime.jobs.finish(claim, "completed")
    await _age(runtime, job.id, days_ago)
    return job


async def _exists(runtime: Runtime, job: Job) -> bool:
    try:
        await runtime.jobs.get(job.id, job.owner_id)
    except NotFound:
        return False
    return True


async def test_ended_jobs_go_after_their_time_and_no_other_does(
    runtime: Runtime, submitted: MakeJob, pending: MakeJob
) -> None:
    old, young = await _ended(runtime, submitted, 31), await _ended(runtime, submitted, 29)
    running = await submitted()
    assert await runtime.jobs.claim("w", 30.0) is not None
    waiting = await pending()
    await runtime.pool.execute("update job set created_at = now() - interval '1 year' where finished_at is null")
    assert await cleaner(runtime, results_days=30).clean() == Freed(jobs=1, objects=1, bytes=5)
    assert [await _exists(runtime, job) for job in (old, young, running, waiting)] == [False, True, True, True]
    assert [one async for one in runtime.objects.list(f"jobs/{old.id}")] == []
    assert len([one async for one in runtime.objects.list(f"jobs/{young.id}")]) == 1


async def test_nothing_goes_by_default(runtime: Runtime, submitted: MakeJob) -> None:
    old = await _ended(runtime, submitted, 10_000)
    assert await cleaner(runtime).clean() == Freed()
    assert await _exists(runtime, old)


async def test_a_tier_may_keep_longer_and_an_account_shorter(runtime: Runtime, submitted: MakeJob) -> None:
    younger, older = await _ended(runtime, submitted, 8), await _ended(runtime, submitted, 31)
    kept = AccountSettingsStore(runtime.pool)
    await runtime.pool.execute("update tenant set tier = 'studio'")
    try:
        assert await cleaner(runtime, results_days=30, by_tier={"studio": 365}).clean() == Freed()
        assert await cleaner(runtime, results_days=30, by_tier={"studio": 0}).clean() == Freed(), "for ever"
        assert await cleaner(runtime, by_tier={"studio": 30}).clean() == Freed(jobs=1, objects=1, bytes=5)
        assert [await _exists(runtime, job) for job in (older, younger)] == [False, True]
        await kept.change(younger.owner_id, {"retention_days": 7})
        assert await cleaner(runtime).clean() == Freed(jobs=1, objects=1, bytes=5), "also where all is kept for ever"
    finally:
        await runtime.pool.execute("update tenant set tier = 'standard'")
        await kept.change(younger.owner_id, {"retention_days": None})


async def test_a_job_that_was_run_again_since_it_was_found_stays(runtime: Runtime, submitted: MakeJob) -> None:
    job = await submitted()
    await runtime.jobs.request_cancel(job.id, job.owner_id)
    await _age(runtime, job.id, 31)
    assert await runtime.jobs.expired(30, 10) == [job.id]
    await runtime.jobs.retry(job.id, job.owner_id)
    assert not await runtime.jobs.delete_expired(job.id, 30)


async def test_uploads_go_when_they_are_old_and_no_job_needs_them(
    runtime: Runtime, pending: MakeJob, upload: Upload
) -> None:
    await pending()
    spare = uuid7()
    await runtime.objects.put(upload_key(spare), b"123")
    await runtime.uploads.add(
        spare, upload.owner_id, "b.mp4", "video/mp4", size=3, sha256="0" * 64, key=upload_key(spare)
    )
    assert await cleaner(runtime, uploads_days=7).clean() == Freed()
    await runtime.pool.execute("update upload set created_at = now() - interval '8 days'")
    assert await cleaner(runtime, uploads_days=7).clean() == Freed(uploads=1, objects=1, bytes=3)
    assert not await runtime.objects.exists(upload_key(spare))
    assert (await runtime.uploads.get(upload.id, upload.owner_id)).id == upload.id


async def test_only_one_process_cleans_at_a_time(runtime: Runtime) -> None:
    async with runtime.pool.connection() as other:
        await other.fetchval("select pg_advisory_lock($1)", retention._LOCK)
        assert await cleaner(runtime, results_days=1).clean() is None
        await other.fetchval("select pg_advisory_unlock($1)", retention._LOCK)
    assert await cleaner(runtime, results_days=1).clean() is not None


async def test_it_cleans_again_and_again(runtime: Runtime, submitted: MakeJob) -> None:
    cleaning = asyncio.create_task(cleaner(runtime, results_days=30).run(interval_s=0.05))
    try:
        for _ in range(2):
            job = await _ended(runtime, submitted, 31)
            async with asyncio.timeout(20):
                while await _exists(runtime, job):  # noqa: ASYNC110  (nothing tells when)
                    await asyncio.sleep(0.05)
    finally:
        cleaning.cancel()
        await asyncio.gather(cleaning, return_exceptions=True)
