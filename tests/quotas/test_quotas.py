"""Quotas: nobody gets more than the tier allows, however many ask at once and from wherever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from octavia_stream.admin.acts import COMMAND_LINE, Actor
from octavia_stream.admin.users import UserDirectory
from octavia_stream.config import LimitSettings, Settings, TierSettings
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import InvalidRequest, NotFound, QuotaExceeded
from octavia_stream.jobs.job import Artifact, Claim, DubbingOptions
from octavia_stream.quotas.quotas import Quotas
from octavia_stream.quotas.usage import Quota, QuotaName
from octavia_stream.runtime import Runtime, open_runtime

pytestmark = pytest.mark.services

SHA = "0" * 64
OPTIONS = DubbingOptions(target_language="pt", voice="a-voice")


@asynccontextmanager
async def server(
    settings: Settings, tiers: dict[str, TierSettings] | None = None, **limits: int
) -> AsyncIterator[Runtime]:
    """One process of a server whose standard tier has these limits; 0 for the others."""
    unbounded = {"concurrent_jobs": 0, "open_uploads": 0, "storage_bytes": 0, "sound_minutes": 0}
    bounds = LimitSettings(standard=TierSettings(**{**unbounded, **limits}), tiers=tiers or {})
    async with open_runtime(settings.model_copy(update={"limits": bounds})) as runtime:
        yield runtime


async def somebody(runtime: Runtime) -> UUID:
    return (await runtime.accounts.sign_up(f"{uuid4().hex}@example.org", "correct horse battery")).id


async def bring(runtime: Runtime, owner_id: UUID, *, size: int = 1, seconds: float | None = 60.0) -> UUID:
    upload_id = uuid7()
    info = None if seconds is None else {"duration_s": seconds}
    await runtime.uploads.add(
        upload_id, owner_id, "a.mp4", "video/mp4", size=size, sha256=SHA, key=f"uploads/{upload_id}", media_info=info
    )
    return upload_id


async def make_jobs(runtime: Runtime, owner_id: UUID, count: int, seconds: float | None = 60.0) -> list[UUID]:
    upload_id = await bring(runtime, owner_id, seconds=seconds)
    return [(await runtime.jobs.create(owner_id, "video-translate", upload_id, OPTIONS)).id for _ in range(count)]


async def submit_all(jobs: list[UUID], owner_id: UUID, *runtimes: Runtime) -> list[QuotaExceeded]:
    """Submit all at once, from several processes in turn; returns what was refused."""
    asked = [runtimes[n % len(runtimes)].jobs.submit(job, owner_id) for n, job in enumerate(jobs)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    unforeseen = [one for one in answers if isinstance(one, BaseException) and not isinstance(one, QuotaExceeded)]
    assert not unforeseen
    return [one for one in answers if isinstance(one, QuotaExceeded)]


async def used(runtime: Runtime, owner_id: UUID, name: QuotaName) -> Quota:
    return (await runtime.quotas.usage(runtime.pool, owner_id)).quota(name)


async def end(runtime: Runtime, job_id: UUID, seconds: float | None) -> None:
    """Let a worker complete the job with this much sound, or fail with None."""
    others: list[Claim] = []
    while (claim := await runtime.jobs.claim("worker", 60.0)) is not None and claim.job.id != job_id:
        others.append(claim)
    assert claim is not None
    for other in others:
        await runtime.jobs.release(other)
    if seconds is None:
        await runtime.jobs.finish(claim, "failed", error=("broken", "It broke.", False))
        return
    report: dict[str, object] = {"samples": round(seconds * 16_000), "rate_hz": 16_000}
    await runtime.jobs.finish(
        claim, "completed", report=report, artifacts=[Artifact("dub.mp4", "key", "video/mp4", 5000, SHA)]
    )


async def test_of_50_submits_at_once_over_two_processes_just_as_many_pass_as_may_run(settings: Settings) -> None:
    async with server(settings, concurrent_jobs=7) as one, server(settings, concurrent_jobs=7) as other:
        owner_id = await somebody(one)
        refused = await submit_all(await make_jobs(one, owner_id, 50), owner_id, one, other)
        assert len(refused) == 43
        assert all(error.quota == Quota("concurrent_jobs", 7, 7) for error in refused)
        assert await used(one, owner_id, "concurrent_jobs") == Quota("concurrent_jobs", 7, 7)


async def test_of_50_submits_at_once_no_more_sound_passes_than_the_quota_has(settings: Settings) -> None:
    async with server(settings, sound_minutes=12) as one, server(settings, sound_minutes=12) as other:
        owner_id = await somebody(one)
        refused = await submit_all(await make_jobs(one, owner_id, 50), owner_id, one, other)
        assert len(refused) == 38
        assert await used(one, owner_id, "sound_seconds") == Quota("sound_seconds", 720, 720)
        # Another's is not touched by that.
        stranger = await somebody(one)
        assert await submit_all(await make_jobs(one, stranger, 12), stranger, one, other) == []


async def test_of_50_files_at_once_no_more_bytes_are_kept_than_the_quota_has(settings: Settings) -> None:
    async with server(settings, storage_bytes=1000) as one, server(settings, storage_bytes=1000) as other:
        owner_id = await somebody(one)
        asked = [bring(runtime, owner_id, size=90) for _ in range(25) for runtime in (one, other)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(one, QuotaExceeded) for one in answers) == 39
        assert await used(one, owner_id, "storage_bytes") == Quota("storage_bytes", 1000, 990)


async def test_what_was_decoded_counts_in_the_end_and_what_failed_does_not(settings: Settings) -> None:
    async with server(settings, sound_minutes=60) as runtime:
        owner_id = await somebody(runtime)
        completed, failed, waiting = await make_jobs(runtime, owner_id, 3, seconds=100.0)
        assert await submit_all([completed, failed, waiting], owner_id, runtime) == []
        assert (await used(runtime, owner_id, "sound_seconds")).used == 300
        await end(runtime, completed, 130.0)
        await end(runtime, failed, None)
        assert (await used(runtime, owner_id, "sound_seconds")).used == 230
        # Run again, it counts again; deleted, what was used stays used.
        await runtime.jobs.retry(failed, owner_id)
        assert (await used(runtime, owner_id, "sound_seconds")).used == 330
        await runtime.jobs.request_cancel(waiting, owner_id)
        await runtime.jobs.delete(completed, owner_id)
        assert (await used(runtime, owner_id, "sound_seconds")).used == 230


async def test_a_file_that_does_not_say_how_long_it_is_counts_as_the_longest(settings: Settings) -> None:
    async with server(settings) as runtime:
        owner_id = await somebody(runtime)
        await submit_all(await make_jobs(runtime, owner_id, 1, seconds=None), owner_id, runtime)
        assert (await used(runtime, owner_id, "sound_seconds")).used == settings.media.max_duration_s


async def test_sound_of_more_than_30_days_ago_is_forgotten(settings: Settings) -> None:
    async with server(settings, sound_minutes=1) as runtime:
        owner_id = await somebody(runtime)
        old, refused_today = await make_jobs(runtime, owner_id, 2)
        await runtime.jobs.submit(old, owner_id)
        await end(runtime, old, 60.0)
        with pytest.raises(QuotaExceeded, match="60 of your 60 seconds of sound"):
            await runtime.jobs.submit(refused_today, owner_id)
        await runtime.pool.execute("update sound_use set taken_at = now() - interval '31 days' where job_id = $1", old)
        await runtime.jobs.submit(refused_today, owner_id)
        assert await runtime.pool.fetchval("select count(*) from sound_use where owner_id = $1", owner_id) == 1


async def test_results_count_as_storage_and_a_full_shelf_starts_nothing(settings: Settings) -> None:
    async with server(settings, storage_bytes=4000) as runtime:
        owner_id = await somebody(runtime)
        first, second = await make_jobs(runtime, owner_id, 2)
        await runtime.jobs.submit(first, owner_id)
        await end(runtime, first, 60.0)
        assert await used(runtime, owner_id, "storage_bytes") == Quota("storage_bytes", 4000, 5001)
        with pytest.raises(QuotaExceeded):
            await runtime.jobs.submit(second, owner_id)
        await runtime.jobs.delete(first, owner_id)
        await runtime.jobs.submit(second, owner_id)


async def test_uploads_in_pieces_keep_their_room_until_they_are_closed(settings: Settings) -> None:
    async with server(settings, open_uploads=3, storage_bytes=1000) as runtime:
        owner_id, quotas = await somebody(runtime), runtime.quotas

        async def open_one(size: int) -> UUID:
            upload_id = uuid7()
            async with runtime.pool.transaction() as connection:
                await quotas.open_upload(connection, owner_id, upload_id, size)
            return upload_id

        answers = await asyncio.gather(*(open_one(300) for _ in range(20)), return_exceptions=True)
        opened = [one for one in answers if isinstance(one, UUID)]
        assert len(opened) == 3
        with pytest.raises(QuotaExceeded):
            await bring(runtime, owner_id, size=200)
        async with runtime.pool.transaction() as connection:
            await quotas.close_upload(connection, opened[0])
        with pytest.raises(QuotaExceeded, match="600 of your 1000 bytes are used and this needs 500"):
            await open_one(500)
        await open_one(0)
        # Those that nobody closes expire.
        await runtime.pool.execute("update open_upload set expires_at = now() where owner_id = $1", owner_id)
        assert [(await used(runtime, owner_id, name)).used for name in ("open_uploads", "storage_bytes")] == [0, 0]
        await open_one(1000)


async def test_a_tier_has_limits_of_its_own_and_an_unknown_one_those_of_the_standard(settings: Settings) -> None:
    studio = TierSettings(concurrent_jobs=4)
    async with server(settings, {"studio": studio}, concurrent_jobs=1) as runtime:
        owner_id = await somebody(runtime)
        jobs = await make_jobs(runtime, owner_id, 6)
        assert len(await submit_all(jobs[:2], owner_id, runtime)) == 1
        email = (await runtime.accounts.get(owner_id)).email
        users, actor = UserDirectory(runtime.pool), Actor(None, COMMAND_LINE)
        await users.set_tier(actor, email, "studio", "they pay", runtime.quotas)
        assert len(await submit_all(jobs[2:], owner_id, runtime)) == 1
        assert (await runtime.quotas.usage(runtime.pool, owner_id)).tier == "studio"
        (act,) = await runtime.pool.fetch(
            "select act, reason, details from admin_act where subject = $1", str(owner_id)
        )
        assert dict(act) == {"act": "set_tier", "reason": "they pay", "details": {"tier": "studio"}}
        for owner, name in ((email, "golden"), (str(uuid7()), "studio"), (f"{uuid7()}@example.org", "studio")):
            with pytest.raises(NotFound):
                await users.set_tier(actor, owner, name, "a reason", runtime.quotas)
        with pytest.raises(InvalidRequest):
            await users.set_tier(actor, "somebody", "studio", "a reason", runtime.quotas)
        without = Quotas(LimitSettings(standard=TierSettings(concurrent_jobs=2)))
        usage = await without.usage(runtime.pool, owner_id)
        assert (usage.tier, usage.quota("concurrent_jobs").limit) == ("standard", 2)


async def test_an_account_that_goes_leaves_no_trace_of_what_it_used(settings: Settings) -> None:
    async with server(settings) as runtime:
        owner_id = await somebody(runtime)
        (job,) = await make_jobs(runtime, owner_id, 1)
        await runtime.jobs.submit(job, owner_id)
        await runtime.pool.execute("delete from job where id = $1", job)
        await runtime.pool.execute("delete from upload where owner_id = $1", owner_id)
        await runtime.pool.execute("delete from account where id = $1", owner_id)
        assert await runtime.pool.fetchval("select count(*) from sound_use where owner_id = $1", owner_id) == 0
