"""Jobs and credits: what a job may cost is held with its submission, and settled with its end."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import msgspec
import pytest

from octavia_stream.billing import ledger
from octavia_stream.billing.audit import LedgerAudit, audit_ledger
from octavia_stream.billing.transfer import Balance
from octavia_stream.config import BillingSettings, Settings
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import Conflict, InsufficientCredits, LeaseLost, OctaviaError
from octavia_stream.jobs.job import Claim, DubbingOptions, Job
from octavia_stream.jobs.postgres import MAX_ATTEMPTS
from octavia_stream.media.info import AudioTrack, MediaInfo
from octavia_stream.runtime import Runtime, open_runtime
from octavia_stream.uploads.upload import upload_key

pytestmark = pytest.mark.services

FREE = 100
LEASE_S = 30.0
RATE_HZ = 48_000


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """A server that charges."""
    return settings.model_copy(update={"billing": BillingSettings(enabled=True, free_credits=FREE)})


@pytest.fixture(autouse=True)
async def sound(runtime: Runtime) -> AsyncIterator[None]:
    """Whatever a test did, the books are right; and no job of the test before is in the way."""
    await runtime.pool.execute("delete from job where status = 'pending' and submitted_at is null")
    while (claim := await runtime.jobs.claim("sweeper", LEASE_S)) is not None:
        await runtime.jobs.finish(claim, "cancelled")
    yield
    assert await audit_ledger(runtime.pool) == LedgerAudit(0, 0, 0, 0)


async def person(runtime: Runtime) -> UUID:
    return (await runtime.accounts.sign_up(f"{uuid4().hex}@example.org", "a good password")).id


async def new_job(runtime: Runtime, owner: UUID, seconds: float) -> Job:
    """A job on a file that says it is so long."""
    track = AudioTrack(0, "aac", RATE_HZ, 2, "stereo", None, None, True, 0.0, seconds)
    info = MediaInfo(("mov",), "isom", seconds, 0.0, 3, None, (track,), ())
    upload = await runtime.uploads.add(
        (upload_id := uuid7()),
        owner,
        "talk.mp4",
        "video/mp4",
        size=3,
        sha256="0" * 64,
        key=upload_key(upload_id),
        media_info=msgspec.to_builtins(info),
    )
    return await runtime.jobs.create(owner, "video-translate", upload.id, DubbingOptions(target_language="pt"))


async def running(runtime: Runtime, owner: UUID, seconds: float) -> Claim:
    job = await new_job(runtime, owner, seconds)
    await runtime.jobs.submit(job.id, owner)
    claim = await runtime.jobs.claim("w", LEASE_S)
    assert claim is not None
    assert claim.job.id == job.id
    return claim


def delivered(seconds: float) -> dict[str, object]:
    return {"samples": round(seconds * RATE_HZ), "rate_hz": RATE_HZ}


async def lines(runtime: Runtime, owner: UUID) -> list[tuple[str, int]]:
    return [(line.type, line.amount) for line in await runtime.credits.statement(owner, 50)]


async def test_a_new_account_starts_with_the_free_credits_once(runtime: Runtime) -> None:
    owner = await person(runtime)
    assert await lines(runtime, owner) == [("grant", FREE)]
    email = f"{uuid4().hex}@example.org"
    tries = await asyncio.gather(
        *(runtime.accounts.sign_up(email, "a good password") for _ in range(3)), return_exceptions=True
    )
    assert sum(isinstance(one, Conflict) for one in tries) == 2


async def test_what_was_delivered_is_charged_and_the_rest_let_go(runtime: Runtime) -> None:
    owner = await person(runtime)
    claim = await running(runtime, owner, 90.0)
    assert await runtime.credits.balance(owner) == Balance(FREE, held=15)
    await runtime.jobs.finish(claim, "completed", report=delivered(60.0))
    assert await runtime.credits.balance(owner) == Balance(FREE - 10, held=0)
    assert await lines(runtime, owner) == [("capture", -10), ("grant", FREE)]


async def test_each_language_of_a_job_is_held_for_and_charged(runtime: Runtime) -> None:
    owner = await person(runtime)
    upload = (await new_job(runtime, owner, 60.0)).upload_id
    options = DubbingOptions(target_language="pt", target_languages=("pt", "en"))
    job = await runtime.jobs.create(owner, "video-translate", upload, options)
    await runtime.jobs.submit(job.id, owner)
    assert await runtime.credits.balance(owner) == Balance(FREE, held=20)
    claim = await runtime.jobs.claim("w", LEASE_S)
    assert claim is not None
    await runtime.jobs.finish(claim, "completed", report=delivered(30.0))
    assert await runtime.credits.balance(owner) == Balance(FREE - 10, held=0)


async def test_of_a_part_only_the_part_is_held_for(runtime: Runtime) -> None:
    owner = await person(runtime)
    upload = (await new_job(runtime, owner, 60.0)).upload_id
    options = DubbingOptions(target_language="pt", start_s=30.0, end_s=300.0)
    job = await runtime.jobs.create(owner, "video-translate", upload, options)
    await runtime.jobs.submit(job.id, owner)
    assert await runtime.credits.balance(owner) == Balance(FREE, held=5)
    claim = await runtime.jobs.claim("w", LEASE_S)
    assert claim is not None
    # The picture made it begin a little earlier.
    await runtime.jobs.finish(claim, "completed", report=delivered(33.0))
    assert await runtime.credits.balance(owner) == Balance(FREE - 5, held=0)


@pytest.mark.parametrize("report", [{}, delivered(3600.0), {"samples": 5, "rate_hz": 0}])
async def test_a_job_never_costs_more_than_its_quote(runtime: Runtime, report: dict[str, object]) -> None:
    owner = await person(runtime)
    claim = await running(runtime, owner, 60.0)
    await runtime.jobs.finish(claim, "completed", report=report)
    assert await runtime.credits.balance(owner) == Balance(FREE - 10, held=0)


async def test_what_fails_or_is_cancelled_costs_nothing(runtime: Runtime) -> None:
    owner = await person(runtime)
    claim = await running(runtime, owner, 60.0)
    await runtime.jobs.finish(claim, "failed", error=("no_speech", "There is no speech in this file.", False))
    claim = await running(runtime, owner, 60.0)
    await runtime.jobs.request_cancel(claim.job.id, owner)
    assert (await runtime.credits.balance(owner)).held == 10, "its worker has not noticed yet"
    await runtime.jobs.finish(claim, "completed", report=delivered(60.0))
    waiting = await new_job(runtime, owner, 60.0)
    await runtime.jobs.submit(waiting.id, owner)
    await runtime.jobs.request_cancel(waiting.id, owner)
    assert await runtime.credits.balance(owner) == Balance(FREE, held=0)
    assert await lines(runtime, owner) == [("grant", FREE)]


async def test_a_job_that_is_given_up_costs_nothing(runtime: Runtime) -> None:
    owner = await person(runtime)
    claim = await running(runtime, owner, 60.0)
    await runtime.pool.execute(
        "update job set attempts = $2, lease_until = now() - interval '1 s' where id = $1", claim.job.id, MAX_ATTEMPTS
    )
    assert await runtime.jobs.claim("next", LEASE_S) is None
    assert (await runtime.jobs.get(claim.job.id, owner)).error_code == "attempts_exhausted"
    assert await runtime.credits.balance(owner) == Balance(FREE, held=0)


async def test_a_job_that_changes_hands_keeps_its_hold(runtime: Runtime) -> None:
    owner = await person(runtime)
    claim = await running(runtime, owner, 60.0)
    await runtime.jobs.release(claim)
    assert await runtime.credits.balance(owner) == Balance(FREE, held=10)
    successor = await runtime.jobs.claim("other", LEASE_S)
    assert successor is not None
    with pytest.raises(LeaseLost):
        await runtime.jobs.finish(claim, "completed", report=delivered(60.0))
    await runtime.jobs.finish(successor, "completed", report=delivered(60.0))
    assert await runtime.credits.balance(owner) == Balance(FREE - 10, held=0)


async def test_a_job_that_costs_too_much_is_not_submitted(runtime: Runtime) -> None:
    owner = await person(runtime)
    job = await new_job(runtime, owner, 601.0)
    with pytest.raises(InsufficientCredits, match="costs 101 credits and 100 are available"):
        await runtime.jobs.submit(job.id, owner)
    assert (await runtime.jobs.get(job.id, owner)).submitted_at is None
    assert await runtime.jobs.events_after(job.id, 0) == []
    assert await runtime.jobs.claim("w", LEASE_S) is None
    await runtime.credits.grant(owner, 1, key=f"more/{owner}", reason="One more.")
    assert (await runtime.jobs.submit(job.id, owner)).submitted_at is not None


async def test_fifty_submissions_at_once_hold_once(runtime: Runtime) -> None:
    owner = await person(runtime)
    job = await new_job(runtime, owner, 60.0)
    await asyncio.gather(*(runtime.jobs.submit(job.id, owner) for _ in range(50)))
    assert await runtime.credits.balance(owner) == Balance(FREE, held=10)
    assert len(await runtime.credits.open_holds(owner)) == 1


async def test_of_twenty_jobs_at_once_as_many_are_submitted_as_can_be_paid(runtime: Runtime) -> None:
    owner = await person(runtime)
    jobs = [await new_job(runtime, owner, 90.0) for _ in range(20)]
    tries = await asyncio.gather(*(runtime.jobs.submit(job.id, owner) for job in jobs), return_exceptions=True)
    assert sum(isinstance(one, Job) for one in tries) == FREE // 15
    assert all(isinstance(one, Job | InsufficientCredits) for one in tries)
    assert await runtime.credits.balance(owner) == Balance(FREE, held=90)


async def test_cancelling_and_completing_at_once_agree_with_the_ledger(runtime: Runtime) -> None:
    owner, expected = await person(runtime), FREE
    await runtime.credits.grant(owner, 400, key=f"more/{owner}", reason="For fifty jobs.")
    expected += 400
    ends = set()
    for _ in range(50):
        claim = await running(runtime, owner, 60.0)
        tries = await asyncio.gather(
            runtime.jobs.request_cancel(claim.job.id, owner),
            runtime.jobs.finish(claim, "completed", report=delivered(42.0)),
            runtime.jobs.finish(claim, "failed", error=("x", "It failed.", False)),
            runtime.jobs.finish(claim, "cancelled"),
            return_exceptions=True,
        )
        assert all(one is None or isinstance(one, Job | Conflict | LeaseLost) for one in tries), tries
        job = await runtime.jobs.get(claim.job.id, owner)
        ends.add(job.status)
        assert job.finished_at is not None
        expected -= 7 if job.status == "completed" else 0
        assert await runtime.credits.balance(owner) == Balance(expected, held=0)
    assert len(ends) > 1, "nothing raced"


async def test_a_file_that_does_not_say_its_length_is_held_for_as_the_longest(runtime: Runtime) -> None:
    owner = await person(runtime)
    longest = runtime.settings.media.max_duration_s / 60 * 10
    await runtime.credits.grant(owner, int(longest), key=f"more/{owner}", reason="For the longest.")
    claim = await running(runtime, owner, 0.0)
    assert (await runtime.credits.balance(owner)).held == longest
    await runtime.jobs.finish(claim, "completed", report=delivered(6.0))
    assert await runtime.credits.balance(owner) == Balance(FREE + int(longest) - 1, held=0)


async def test_after_a_payment_was_returned_nothing_more_can_be_started(runtime: Runtime) -> None:
    owner = await person(runtime)
    async with runtime.pool.transaction() as connection:
        await ledger.purchase(connection, owner, 100, order_id=f"o/{owner}", reason="Bought.")
    claim = await running(runtime, owner, 660.0)
    async with runtime.pool.transaction() as connection:
        await ledger.take_back(connection, f"o/{owner}", 100, "chargeback", reason="Charged back.")
    await runtime.jobs.finish(claim, "completed", report=delivered(660.0))
    assert await runtime.credits.balance(owner) == Balance(-10, held=0)
    job = await new_job(runtime, owner, 6.0)
    with pytest.raises(OctaviaError, match="owes 10 credits"):
        await runtime.jobs.submit(job.id, owner)


async def test_where_billing_is_off_nothing_is_counted_and_what_was_held_before_is_settled(
    runtime: Runtime, settings: Settings
) -> None:
    owner = await person(runtime)
    claim = await running(runtime, owner, 60.0)
    async with open_runtime(settings.model_copy(update={"billing": BillingSettings()})) as free:
        await free.jobs.finish(claim, "completed", report=delivered(60.0))
        assert await free.credits.balance(owner) == Balance(FREE - 10, held=0)
        somebody = await person(free)
        assert await free.credits.balance(somebody) == Balance(0, 0)
        job = await new_job(free, somebody, 3600.0)
        await free.jobs.submit(job.id, somebody)
        assert free.charges.quote("video-translate", None).credits == 0
        assert await free.credits.balance(somebody) == Balance(0, 0)


async def test_a_job_that_is_run_again_is_held_for_again_and_charged_once(runtime: Runtime) -> None:
    owner = await person(runtime)
    claim = await running(runtime, owner, 60.0)
    for run in range(3):
        assert await runtime.credits.balance(owner) == Balance(FREE, held=10), run
        await runtime.jobs.finish(claim, "failed", error=("x", "It failed.", True))
        assert await runtime.credits.balance(owner) == Balance(FREE, held=0)
        await runtime.jobs.retry(claim.job.id, owner)
        again = await runtime.jobs.claim("w", LEASE_S)
        assert again is not None
        claim = again
    await runtime.jobs.finish(claim, "completed", report=delivered(60.0))
    assert await runtime.credits.balance(owner) == Balance(FREE - 10, held=0)


async def test_a_job_that_can_no_longer_be_paid_stays_failed(runtime: Runtime) -> None:
    owner = await person(runtime)
    claim = await running(runtime, owner, 600.0)
    await runtime.jobs.finish(claim, "failed", error=("x", "It failed.", True))
    await running(runtime, owner, 60.0)
    with pytest.raises(InsufficientCredits):
        await runtime.jobs.retry(claim.job.id, owner)
    assert (await runtime.jobs.get(claim.job.id, owner)).status == "failed"


async def test_a_waiting_job_that_is_deleted_lets_its_credits_go(runtime: Runtime) -> None:
    owner = await person(runtime)
    job = await new_job(runtime, owner, 60.0)
    await runtime.jobs.submit(job.id, owner)
    await runtime.jobs.delete(job.id, owner)
    assert await runtime.credits.balance(owner) == Balance(FREE, held=0)
