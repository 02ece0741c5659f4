"""Watchers see every event once and in order, whatever becomes of Redis."""

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import redis.asyncio

from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import DependencyUnavailable
from octavia_stream.events.event import Completed, JobEventRecord, Warned
from octavia_stream.events.feed import BUFFER_RECORDS, EventFeed, Head, Subscription
from octavia_stream.events.redis import RedisEvents
from octavia_stream.jobs.job import Claim, DubbingOptions
from octavia_stream.jobs.postgres import PostgresJobStore
from octavia_stream.runtime import Runtime
from octavia_stream.services.valkey import EmbeddedValkey
from octavia_stream.uploads.upload import upload_key

pytestmark = pytest.mark.services

GUARD_S = 60.0
"""So that a test of something that hangs ends: it proves nothing about speed."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Two sides of Redis, as in two processes: the store of a worker and the feed of the api."""

    valkey: EmbeddedValkey
    jobs: PostgresJobStore
    feed: EventFeed
    claimed: Callable[[], Awaitable[Claim]]
    """Makes a job that a worker holds; it has two events."""


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """The test's own: it may be stopped, wiped or killed."""
    service = EmbeddedValkey(tmp_path)
    await service.start()
    yield service
    await service.stop()


@pytest.fixture(scope="module")
async def upload_of(runtime: Runtime) -> tuple[UUID, UUID]:
    """(upload, owner)"""
    account = await runtime.accounts.sign_up(f"{uuid4().hex}@example.org", "a good password")
    upload_id = uuid7()
    await runtime.uploads.add(
        upload_id, account.id, "talk.mp4", "video/mp4", size=3, sha256="0" * 64, key=upload_key(upload_id)
    )
    return upload_id, account.id


@pytest.fixture
async def stage(runtime: Runtime, valkey: EmbeddedValkey, upload_of: tuple[UUID, UUID]) -> AsyncIterator[Stage]:
    upload_id, owner_id = upload_of
    await runtime.pool.execute("delete from job")
    async with RedisEvents(valkey.url) as writing, RedisEvents(valkey.url) as reading:
        jobs = PostgresJobStore(runtime.pool, writing)

        async def claimed() -> Claim:
            job = await jobs.create(owner_id, "video-translate", upload_id, DubbingOptions(target_language="pt"))
            await jobs.submit(job.id, owner_id)
            claim = await jobs.claim("w", 60.0)
            assert claim is not None
            return claim

        async with EventFeed(jobs, reading, poll_s=0.3) as feed:
            yield Stage(valkey, jobs, feed, claimed)


async def _watch(events: Subscription) -> list[JobEventRecord]:
    async with asyncio.timeout(GUARD_S):
        return [record async for record in events]


async def _write(stage: Stage, claim: Claim, count: int, name: str = "w", pause_s: float = 0.0) -> None:
    for n in range(count):
        await stage.jobs.append(claim, [Warned(name, f"{n}")])
        await asyncio.sleep(pause_s)


async def _until(happened: Callable[[], bool]) -> None:
    while not happened():  # noqa: ASYNC110  (nothing tells when)
        await asyncio.sleep(0.02)


def _is_whole(records: list[JobEventRecord], first: int, last: int) -> bool:
    return [record.seq for record in records] == list(range(first, last + 1))


@contextlib.asynccontextmanager
async def _client(stage: Stage) -> AsyncIterator["redis.asyncio.Redis"]:
    client = redis.asyncio.Redis.from_url(stage.valkey.url)
    yield client
    await client.aclose()


async def test_a_watcher_catches_up_goes_on_live_and_ends_with_the_job(stage: Stage) -> None:
    claim = await stage.claimed()
    watching = asyncio.create_task(_watch(stage.feed.subscribe(claim.job.id)))
    await _write(stage, claim, 20, pause_s=0.01)
    await stage.jobs.finish(claim, "completed")
    records = await watching
    assert _is_whole(records, 1, 23)
    assert records[-1].event == Completed()
    assert records == await stage.jobs.events_after(claim.job.id, 0)


async def test_a_watcher_resumes_after_what_it_has_seen(stage: Stage) -> None:
    claim = await stage.claimed()
    await _write(stage, claim, 5)
    watching = asyncio.create_task(_watch(stage.feed.subscribe(claim.job.id, after_seq=4)))
    await _write(stage, claim, 5)
    await stage.jobs.finish(claim, "completed")
    assert _is_whole(await watching, 5, 13)
    assert _is_whole(await _watch(stage.feed.subscribe(claim.job.id, after_seq=12)), 13, 13)
    assert await _watch(stage.feed.subscribe(claim.job.id, after_seq=13)) == []
    assert await _watch(stage.feed.subscribe(claim.job.id, after_seq=99)) == []


async def test_a_job_that_does_not_exist_has_no_events(stage: Stage) -> None:
    assert await _watch(stage.feed.subscribe(uuid4())) == []


async def test_events_come_through_redis_and_not_only_by_polling(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = await stage.claimed()
    events = stage.feed.subscribe(claim.job.id)
    for _ in range(2):
        await anext(events)

    async def never(job_id: UUID, seq: int, limit: int = 500) -> list[JobEventRecord]:
        raise AssertionError("read from Postgres")

    monkeypatch.setattr(stage.jobs, "events_after", never)
    polled = asyncio.Event()
    heads = stage.jobs.heads

    async def last_poll(job_ids: Iterable[UUID]) -> dict[UUID, Head]:
        found = await heads(job_ids)
        polled.set()
        return found

    monkeypatch.setattr(stage.jobs, "heads", last_poll)
    monkeypatch.setattr(stage.feed, "_poll_s", 1e6)
    # The poll that waits already looks at Postgres once more, unless it was looking just now.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await polled.wait()
    await _write(stage, claim, 10)
    async with asyncio.timeout(GUARD_S):
        assert [(await anext(events)).seq for _ in range(10)] == list(range(3, 13))
    await events.aclose()


async def _wipe(stage: Stage) -> None:
    async with _client(stage) as client:
        for _ in range(5):
            await client.flushall()
            await asyncio.sleep(0.05)


async def _kill_and_restart(stage: Stage) -> None:
    assert stage.valkey.pid is not None
    os.kill(stage.valkey.pid, signal.SIGKILL)
    await stage.valkey.ended()
    await asyncio.sleep(0.3)
    await stage.valkey.start()


async def _kill(stage: Stage) -> None:
    assert stage.valkey.pid is not None
    os.kill(stage.valkey.pid, signal.SIGKILL)
    await stage.valkey.ended()


async def _hang(stage: Stage) -> None:
    assert stage.valkey.pid is not None
    os.kill(stage.valkey.pid, signal.SIGSTOP)
    await asyncio.sleep(2.0)
    os.kill(stage.valkey.pid, signal.SIGCONT)


@pytest.mark.parametrize("hurt", [_wipe, _kill_and_restart, _kill, _hang])
async def test_no_event_is_lost_when_redis_is(stage: Stage, hurt: Callable[[Stage], Awaitable[None]]) -> None:
    """Twelve watchers of three jobs, from different points, four writers a job, and Redis hurt in the middle."""
    claims = [await stage.claimed() for _ in range(3)]
    watching = [
        (after, asyncio.create_task(_watch(stage.feed.subscribe(claim.job.id, after_seq=after))))
        for claim in claims
        for after in (0, 1, 2, 17)
    ]

    async def work(claim: Claim) -> None:
        writers = (_write(stage, claim, 25, f"w{n}", 0.02) for n in range(4))
        await asyncio.gather(*writers)
        await stage.jobs.finish(claim, "completed")

    async with asyncio.timeout(GUARD_S):
        await asyncio.gather(*(work(claim) for claim in claims), hurt(stage))
    for after, watched in watching:
        assert _is_whole(await watched, after + 1, 103)


async def test_a_slow_reader_is_bounded_and_misses_nothing(stage: Stage) -> None:
    claim = await stage.claimed()
    events = stage.feed.subscribe(claim.job.id)
    first = [await anext(events) for _ in range(2)]
    for n in range(30):
        await stage.jobs.append(claim, [Warned("w", f"{n}/{m}") for m in range(40)])
    await stage.jobs.finish(claim, "completed")
    async with asyncio.timeout(GUARD_S):
        await _until(lambda: len(events._buffer) > 0)
    await asyncio.sleep(1.0)
    assert 0 < len(events._buffer) <= BUFFER_RECORDS < 1200
    assert _is_whole(first + await _watch(events), 1, 2 + 1200 + 1)


async def test_waiting_may_be_given_up_and_taken_up_again(stage: Stage) -> None:
    """As for a keep-alive: the deadline cancels the wait, not the subscription."""
    claim = await stage.claimed()
    events = stage.feed.subscribe(claim.job.id)
    writing = asyncio.create_task(_write(stage, claim, 40, pause_s=0.02))
    records: list[JobEventRecord] = []
    given_up = 0
    async with asyncio.timeout(GUARD_S):
        while len(records) < 42:
            try:
                async with asyncio.timeout(0.004):
                    records.append(await anext(events))
            except TimeoutError:
                given_up += 1
    await writing
    await events.aclose()
    assert given_up > 0
    assert _is_whole(records, 1, 42)


async def test_a_watcher_that_is_dropped_is_forgotten(stage: Stage) -> None:
    claim = await stage.claimed()
    events = stage.feed.subscribe(claim.job.id)
    await anext(events)
    assert claim.job.id in stage.feed._watched
    del events
    gc.collect()
    async with asyncio.timeout(GUARD_S):
        await _until(lambda: claim.job.id not in stage.feed._watched)


async def test_closing_the_feed_ends_those_who_wait(stage: Stage) -> None:
    claim = await stage.claimed()
    watching = asyncio.create_task(_watch(stage.feed.subscribe(claim.job.id)))
    async with asyncio.timeout(GUARD_S):
        await _until(lambda: claim.job.id in stage.feed._watched)
        await asyncio.sleep(0.1)
        await stage.feed.close()
        assert _is_whole(await watching, 1, 2)
    await stage.feed.close()


async def test_what_redis_makes_up_is_not_believed(stage: Stage) -> None:
    """Entries of a database that was restored from a backup, or garbage, neither show up nor stop the feed."""
    claim = await stage.claimed()
    watching = asyncio.create_task(_watch(stage.feed.subscribe(claim.job.id)))
    async with asyncio.timeout(GUARD_S):
        await _until(lambda: claim.job.id in stage.feed._watched)
    async with RedisEvents(stage.valkey.url) as liar, _client(stage) as client:
        await liar.publish(claim.job.id, [JobEventRecord(900, datetime.now(UTC), Completed())])
        await client.xadd(f"octavia:events:{claim.job.id}", {"e": b"no event"}, id="901-0")
        await asyncio.sleep(0.5)
        await _write(stage, claim, 5, pause_s=0.05)
        await stage.jobs.finish(claim, "completed")
    assert _is_whole(await watching, 1, 8)


async def test_a_dead_redis_stops_no_work(stage: Stage) -> None:
    await _kill(stage)
    claim = await stage.claimed()
    await _write(stage, claim, 50)
    await stage.jobs.finish(claim, "completed")
    assert _is_whole(await stage.jobs.events_after(claim.job.id, 0), 1, 53)
    async with RedisEvents(stage.valkey.url) as events:
        with pytest.raises(DependencyUnavailable):
            await events.ping()
        assert await events.wait_for_work(0.05) is False


async def test_a_waiting_worker_is_woken_when_a_job_is_submitted(stage: Stage, valkey: EmbeddedValkey) -> None:
    async with RedisEvents(valkey.url) as first, RedisEvents(valkey.url) as second:
        for waiter in (first, second):
            await waiter.wait_for_work(0.01)
        waiting = [asyncio.create_task(waiter.wait_for_work(GUARD_S)) for waiter in (first, second)]
        await stage.claimed()
        async with asyncio.timeout(GUARD_S):
            assert await asyncio.gather(*waiting) == [True, True]
        # A job submitted between two waits is not missed either.
        await stage.claimed()
        assert await first.wait_for_work(GUARD_S) is True
        assert await first.wait_for_work(0.01) is False
