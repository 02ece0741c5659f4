"""The life of a job in Postgres."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from uuid import UUID, uuid4

import asyncpg
import pytest

from octavia_stream.errors import Conflict, LeaseLost, NotFound
from octavia_stream.events.event import (
    Analysed,
    Cancelled,
    Completed,
    Failed,
    Progress,
    StageCount,
    Started,
    Submitted,
    Warned,
)
from octavia_stream.jobs.job import Artifact, Claim, DubbingOptions, Job
from octavia_stream.jobs.postgres import MAX_ATTEMPTS
from octavia_stream.runtime import Runtime
from octavia_stream.uploads.upload import Upload

pytestmark = pytest.mark.services

MakeJob = Callable[[], Awaitable[Job]]
Expire = Callable[[UUID], Awaitable[object]]

LEASE_S = 30.0
ARTIFACT = Artifact("dub.mp4", "jobs/x/dub.mp4", "video/mp4", 5, "0" * 64)


async def _claim(runtime: Runtime, worker: str = "w") -> Claim:
    claim = await runtime.jobs.claim(worker, LEASE_S)
    assert claim is not None
    return claim


async def _events(runtime: Runtime, job_id: UUID) -> list[object]:
    records = await runtime.jobs.events_after(job_id, 0)
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    return [record.event for record in records]


async def test_a_job_goes_from_pending_to_completed(runtime: Runtime, pending: MakeJob) -> None:
    job = await pending()
    assert (job.status, job.submitted_at, job.options.result_language) == ("pending", None, "pt")
    assert await runtime.jobs.claim("w", LEASE_S) is None, "nobody submitted it"
    assert (await runtime.jobs.submit(job.id, job.owner_id)).submitted_at is not None
    claim = await _claim(runtime)
    assert (claim.job.id, claim.job.status, claim.attempt, claim.epoch) == (job.id, "processing", 1, 1)
    await runtime.jobs.append(claim, [Analysed(12.5, "en", "pt", "kokoro/pf_dora")])
    await runtime.jobs.finish(claim, "completed", artifacts=[ARTIFACT], report={"fit": 0.97})
    done = await runtime.jobs.get(job.id, job.owner_id)
    assert (done.status, done.percent, done.artifacts, done.report) == ("completed", 100, [ARTIFACT], {"fit": 0.97})
    assert done.finished_at is not None
    assert await _events(runtime, job.id) == [
        Submitted(),
        Started(1),
        Analysed(12.5, "en", "pt", "kokoro/pf_dora"),
        Completed(),
    ]
    assert done.last_seq == 4


async def test_submitting_again_is_the_same_as_once(runtime: Runtime, submitted: MakeJob) -> None:
    job = await submitted()
    again = await asyncio.gather(*(runtime.jobs.submit(job.id, job.owner_id) for _ in range(10)))
    assert {one.submitted_at for one in again} == {job.submitted_at}
    assert await _events(runtime, job.id) == [Submitted()]


async def test_a_job_of_another_owner_does_not_exist(runtime: Runtime, submitted: MakeJob, upload: Upload) -> None:
    job = await submitted()
    stranger = await runtime.accounts.sign_up(f"{uuid4().hex}@example.org", "a good password")
    for ask in (runtime.jobs.get, runtime.jobs.submit, runtime.jobs.request_cancel):
        with pytest.raises(NotFound):
            await ask(job.id, stranger.id)
        with pytest.raises(NotFound):
            await ask(uuid4(), job.owner_id)
    with pytest.raises(NotFound):
        await runtime.jobs.create(stranger.id, "video-translate", upload.id, DubbingOptions(target_language="pt"))
    assert await runtime.jobs.list_jobs(stranger.id, 10) == []


async def test_jobs_are_listed_newest_first_and_by_pages(runtime: Runtime, pending: MakeJob) -> None:
    made = [await pending() for _ in range(7)]
    pages, before = [], None
    while page := await runtime.jobs.list_jobs(made[0].owner_id, 3, before):
        pages.append(page)
        before = page[-1].id
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [job.id for page in pages for job in page] == [job.id for job in reversed(made)]


async def test_fifty_workers_share_out_jobs_without_taking_one_twice(runtime: Runtime, submitted: MakeJob) -> None:
    await submitted()
    claims = await asyncio.gather(*(runtime.jobs.claim(f"w{n}", LEASE_S) for n in range(50)))
    assert sum(claim is not None for claim in claims) == 1
    jobs = {(await submitted()).id for _ in range(20)}
    claims = await asyncio.gather(*(runtime.jobs.claim(f"w{n}", LEASE_S) for n in range(50)))
    taken = [claim.job.id for claim in claims if claim is not None]
    # A worker that steps over locked rows may find none; nobody takes what another has.
    assert len(taken) == len(set(taken))
    while (claim := await runtime.jobs.claim("last", LEASE_S)) is not None:
        taken.append(claim.job.id)
    assert set(taken) == jobs
    assert len(taken) == len(jobs)


async def test_the_oldest_submitted_job_is_taken_first(runtime: Runtime, pending: MakeJob) -> None:
    first, second = await pending(), await pending()
    await runtime.jobs.submit(second.id, second.owner_id)
    await runtime.jobs.submit(first.id, first.owner_id)
    assert [(await _claim(runtime)).job.id for _ in range(2)] == [second.id, first.id]


async def test_a_lease_ends_by_the_clock_of_the_database(runtime: Runtime, submitted: MakeJob) -> None:
    job = await submitted()
    claim = await runtime.jobs.claim("first", 0.2)
    assert claim is not None
    assert await runtime.jobs.claim("second", LEASE_S) is None
    await runtime.pool.execute("select pg_sleep(0.25)")
    taken_over = await _claim(runtime, "second")
    assert (taken_over.job.id, taken_over.attempt, taken_over.epoch) == (job.id, 2, 2)
    assert (await _events(runtime, job.id))[-1] == Started(2)


async def test_a_heartbeat_keeps_the_lease(runtime: Runtime, submitted: MakeJob, expire: Expire) -> None:
    await submitted()
    claim = await _claim(runtime)
    await expire(claim.job.id)
    assert await runtime.jobs.heartbeat(claim, LEASE_S) is False
    assert await runtime.jobs.claim("other", LEASE_S) is None


async def test_a_worker_that_lost_its_lease_changes_nothing(
    runtime: Runtime, submitted: MakeJob, expire: Expire
) -> None:
    job = await submitted()
    old = await _claim(runtime, "old")
    await expire(job.id)
    new = await _claim(runtime, "new")
    before = await runtime.jobs.get(job.id, job.owner_id)
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: runtime.jobs.heartbeat(old, LEASE_S),
        lambda: runtime.jobs.append(old, [Warned("late", "late")]),
        lambda: runtime.jobs.begin_chunk(old, "transcribe", 0, "d"),
        lambda: runtime.jobs.finish_chunk(old, "transcribe", 0, "d", "k", "0" * 64),
        lambda: runtime.jobs.finish(old, "completed"),
        lambda: runtime.jobs.finish(old, "failed", error=("x", "y", False)),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            await write()
    await runtime.jobs.release(old)
    assert await runtime.jobs.get(job.id, job.owner_id) == before
    assert await runtime.pool.fetchval("select count(*) from chunk where job_id = $1", job.id) == 0
    assert await runtime.jobs.heartbeat(new, LEASE_S) is False


async def test_a_released_job_is_free_at_once_and_costs_no_attempt(runtime: Runtime, submitted: MakeJob) -> None:
    await submitted()
    for _ in range(MAX_ATTEMPTS * 2):
        claim = await _claim(runtime)
        assert claim.attempt == 1
        await runtime.jobs.release(claim)
        with pytest.raises(LeaseLost):
            await runtime.jobs.append(claim, [Warned("late", "late")])


async def test_a_job_that_kills_its_workers_fails_in_the_end(
    runtime: Runtime, submitted: MakeJob, expire: Expire
) -> None:
    job = await submitted()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert (await _claim(runtime)).attempt == attempt
        await expire(job.id)
    assert await runtime.jobs.claim("w", LEASE_S) is None
    failed = await runtime.jobs.get(job.id, job.owner_id)
    assert (failed.status, failed.error_code) == ("failed", "attempts_exhausted")
    last = (await _events(runtime, job.id))[-1]
    assert isinstance(last, Failed)
    assert last.retryable


async def test_a_pending_job_is_cancelled_at_once(runtime: Runtime, submitted: MakeJob) -> None:
    job = await submitted()
    assert (await runtime.jobs.request_cancel(job.id, job.owner_id)).status == "cancelled"
    assert await runtime.jobs.claim("w", LEASE_S) is None
    assert await _events(runtime, job.id) == [Submitted(), Cancelled()]
    with pytest.raises(Conflict):
        await runtime.jobs.request_cancel(job.id, job.owner_id)
    with pytest.raises(Conflict):
        await runtime.jobs.submit(job.id, job.owner_id)


async def test_a_running_job_is_cancelled_by_its_worker(runtime: Runtime, submitted: MakeJob) -> None:
    job = await submitted()
    claim = await _claim(runtime)
    asked = await runtime.jobs.request_cancel(job.id, job.owner_id)
    assert (asked.status, asked.cancel_requested) == ("processing", True)
    assert await runtime.jobs.heartbeat(claim, LEASE_S) is True
    await runtime.jobs.finish(claim, "cancelled")
    assert (await runtime.jobs.get(job.id, job.owner_id)).status == "cancelled"
    assert (await _events(runtime, job.id))[-1] == Cancelled()


async def test_a_cancelled_job_whose_worker_died_does_not_run_again(
    runtime: Runtime, submitted: MakeJob, expire: Expire
) -> None:
    first, second = await submitted(), await submitted()
    for _ in range(2):
        await _claim(runtime)
    await runtime.jobs.request_cancel(first.id, first.owner_id)
    await expire(first.id)
    assert await runtime.jobs.claim("w", LEASE_S) is None
    assert (await runtime.jobs.get(first.id, first.owner_id)).status == "cancelled"
    await expire(second.id)
    assert (await runtime.jobs.request_cancel(second.id, second.owner_id)).status == "cancelled"


async def test_the_row_decides_between_cancelling_and_finishing(runtime: Runtime, submitted: MakeJob) -> None:
    """Both at once, many times: one ending, told once, and the artifacts only with `completed`."""
    for _ in range(40):
        job = await submitted()
        claim = await _claim(runtime)
        barrier = asyncio.Barrier(2)

        async def cancel(job: Job = job, barrier: asyncio.Barrier = barrier) -> bool:
            await barrier.wait()
            try:
                await runtime.jobs.request_cancel(job.id, job.owner_id)
            except Conflict:
                return False
            return True

        async def finish(claim: Claim = claim, barrier: asyncio.Barrier = barrier) -> None:
            await barrier.wait()
            await runtime.jobs.finish(claim, "completed", artifacts=[ARTIFACT])

        cancelled, _ = await asyncio.gather(cancel(), finish())
        ended = await runtime.jobs.get(job.id, job.owner_id)
        assert ended.status == ("cancelled" if cancelled else "completed")
        assert ended.artifacts == ([] if cancelled else [ARTIFACT])
        events = await _events(runtime, job.id)
        assert events == [Submitted(), Started(1), Cancelled() if cancelled else Completed()]


async def test_a_job_ends_once(runtime: Runtime, submitted: MakeJob) -> None:
    job = await submitted()
    claim = await _claim(runtime)
    endings = await asyncio.gather(
        *(runtime.jobs.finish(claim, "failed", error=("x", "It broke.", True)) for _ in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(ending, LeaseLost) for ending in endings) == 7
    assert (await _events(runtime, job.id))[2:] == [Failed("x", "It broke.", True)]


async def test_a_worker_cannot_end_a_job_as_something_else(runtime: Runtime, submitted: MakeJob) -> None:
    await submitted()
    claim = await _claim(runtime)
    with pytest.raises(ValueError, match="completed, cancelled, or failed"):
        await runtime.jobs.finish(claim, "pending")
    with pytest.raises(ValueError, match="completed, cancelled, or failed"):
        await runtime.jobs.finish(claim, "failed")


async def test_events_have_no_gaps_when_many_write_at_once(runtime: Runtime, submitted: MakeJob) -> None:
    job = await submitted()
    claim = await _claim(runtime)
    await asyncio.gather(*(runtime.jobs.append(claim, [Warned("w", f"{n}"), Warned("w", f"{n}b")]) for n in range(60)))
    assert len(await _events(runtime, job.id)) == 122
    warnings = (await runtime.jobs.get(job.id, job.owner_id)).warnings
    assert len(warnings) == len(set(warnings)) == 120


async def test_percent_never_falls(runtime: Runtime, submitted: MakeJob) -> None:
    job = await submitted()
    claim = await _claim(runtime)
    told = [10.0, 40.0, 25.0, 250.0, 60.0]
    for percent in told:
        await runtime.jobs.append(claim, [Progress("TRANSLATING", percent, {"translate": StageCount(1, 4)})])
    seen = [event.percent for event in await _events(runtime, job.id) if isinstance(event, Progress)]
    assert seen == [10, 40, 40, 100, 100]
    assert all(one <= other for one, other in pairwise(seen))
    row = await runtime.jobs.get(job.id, job.owner_id)
    assert (row.phase, row.percent, row.stages) == ("TRANSLATING", 100, {"translate": StageCount(1, 4)})


async def test_chunk_attempts_are_counted_and_results_found_by_digest(
    runtime: Runtime, submitted: MakeJob, expire: Expire
) -> None:
    job = await submitted()
    claim = await _claim(runtime)
    assert [await runtime.jobs.begin_chunk(claim, "translate", 3, "d1") for _ in range(3)] == [1, 2, 3]
    assert await runtime.jobs.chunk_result(job.id, "translate", 3, "d1") is None
    await runtime.jobs.finish_chunk(claim, "translate", 3, "d1", "k", "a" * 64)
    await expire(job.id)
    await _claim(runtime)
    assert await runtime.jobs.chunk_result(job.id, "translate", 3, "d1") == ("k", "a" * 64)
    assert await runtime.jobs.chunk_result(job.id, "translate", 3, "d2") is None
    assert await runtime.jobs.chunk_result(job.id, "synthesize", 3, "d1") is None


_FORBIDDEN = [
    ("completed", "pending"),
    ("completed", "processing"),
    ("failed", "processing"),
    ("cancelled", "pending"),
    ("processing", "pending"),
    ("pending", "completed"),
    ("pending", "failed"),
]


@pytest.mark.parametrize(("old", "new"), _FORBIDDEN)
async def test_the_database_refuses_transitions_that_are_not_allowed(
    runtime: Runtime, submitted: MakeJob, old: str, new: str
) -> None:
    job = await submitted()
    if old != "pending":
        claim = await _claim(runtime)
        if old == "completed":
            await runtime.jobs.finish(claim, "completed")
        elif old == "failed":
            await runtime.jobs.finish(claim, "failed", error=("x", "y", False))
        elif old == "cancelled":
            await runtime.jobs.finish(claim, "cancelled")
    with pytest.raises(asyncpg.CheckViolationError, match="cannot become"):
        await runtime.pool.execute("update job set status = $2 where id = $1", job.id, new)


@pytest.mark.parametrize("change", ["epoch = epoch - 1", "last_seq = last_seq - 1", "percent = percent - 1"])
async def test_the_database_refuses_to_go_back(runtime: Runtime, submitted: MakeJob, change: str) -> None:
    job = await submitted()
    await runtime.jobs.append(await _claim(runtime), [Progress("TRANSLATING", 50.0, {})])
    with pytest.raises(asyncpg.CheckViolationError, match="never fall"):
        await runtime.pool.execute(f"update job set {change} where id = $1", job.id)  # noqa: S608  (from above)


async def test_whoever_has_fewest_jobs_running_is_next(
    runtime: Runtime, submitted: MakeJob, newcomer: MakeJob, expire: Expire
) -> None:
    films = [await submitted() for _ in range(4)]
    first = await _claim(runtime)
    assert first.job.id == films[0].id, "alone, its jobs go in the order they came"
    clips = [await newcomer() for _ in range(2)]
    assert [(await _claim(runtime)).job.id for _ in range(3)] == [clips[0].id, clips[1].id, films[1].id]
    await expire(films[0].id)
    await expire(films[1].id)
    assert (await _claim(runtime)).job.id == films[0].id, "what was lost with its worker runs no more, and is older"


async def test_places_for_newcomers_are_given_to_nobody_else(
    runtime: Runtime, submitted: MakeJob, newcomer: MakeJob
) -> None:
    film, *_ = [await submitted() for _ in range(3)]
    assert (await _claim(runtime)).job.id == film.id
    assert await runtime.jobs.claim("w", LEASE_S, newcomers_only=True) is None
    clip = await newcomer()
    claim = await runtime.jobs.claim("w", LEASE_S, newcomers_only=True)
    assert claim is not None
    assert claim.job.id == clip.id


async def test_workers_that_claim_at_once_never_take_the_same_job(runtime: Runtime, newcomer: MakeJob) -> None:
    jobs = {(await newcomer()).id for _ in range(6)}
    claims = await asyncio.gather(*(runtime.jobs.claim(f"w{number}", LEASE_S) for number in range(12)))
    taken = [claim.job.id for claim in claims if claim is not None]
    assert sorted(taken) == sorted(set(taken))
    left = [await runtime.jobs.claim("w", LEASE_S) for _ in range(6 - len(taken))]
    assert {*taken, *(claim.job.id for claim in left if claim is not None)} == jobs
