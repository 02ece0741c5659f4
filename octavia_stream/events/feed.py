"""EventFeed: every event of a job, in order, once, for as many watchers as there are.

Postgres is read to catch up and whenever something seems missing. In between, one task
per process reads the Redis streams of all watched jobs, and another asks Postgres every
two seconds how far they are: that bounds what a dead or forgetful Redis can delay.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar
from uuid import UUID
from weakref import WeakSet

from octavia_stream.errors import DependencyUnavailable
from octavia_stream.events.event import TERMINAL_EVENTS, JobEventRecord

POLL_S = 2.0
LIVE_WAIT_S = 0.2
"""Longest a newly watched job waits to join the read that is under way."""
BUFFER_RECORDS = 256
"""Per subscriber. A slower reader loses the oldest here and finds them in Postgres."""
PATIENCE_S = 30.0
"""How long subscribers outwait a Postgres that is away."""
RETRY_S = 0.5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Head:
    """How far a job is."""

    last_seq: int
    ended: bool


class EventSource(Protocol):
    """Where events are kept for good."""

    async def events_after(self, job_id: UUID, seq: int, limit: int = 500) -> list[JobEventRecord]: ...

    async def heads(self, job_ids: Iterable[UUID]) -> dict[UUID, Head]: ...


class LiveEvents(Protocol):
    """Where events may be seen sooner."""

    async def read(self, after: Mapping[UUID, int], wait_s: float) -> dict[UUID, list[JobEventRecord]]: ...


class Subscription:
    """One watcher of one job: an async iterator that ends after the job's last event.

    `__anext__` may be cancelled (by a deadline, say) and called again: nothing is lost.
    """

    def __init__(self, feed: "EventFeed", job_id: UUID, after_seq: int) -> None:
        self._feed = feed
        self._job_id = job_id
        self._seq = after_seq
        self._head: Head | None = None
        self._buffer: deque[JobEventRecord] = deque(maxlen=BUFFER_RECORDS)
        self._caught_up: deque[JobEventRecord] = deque()
        self._news = asyncio.Event()
        self._closed = False

    @property
    def seq(self) -> int:
        """Sequence number of the newest event handed out."""
        return self._seq

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop watching. May be called twice."""
        self._closed = True
        self._news.set()
        self._feed._forget(self._job_id, self)

    async def __anext__(self) -> JobEventRecord:
        """The next event. Raises DependencyUnavailable when Postgres stays away."""
        while not self._closed:
            record = self._ready()
            if record is not None:
                self._seq = record.seq
                if isinstance(record.event, TERMINAL_EVENTS):
                    await self.aclose()
                return record
            if self._is_behind():
                await self._catch_up()
            elif self._head is not None and self._head.ended:
                await self.aclose()
            else:
                self._news.clear()
                await self._news.wait()
        raise StopAsyncIteration

    def _ready(self) -> JobEventRecord | None:
        for records in (self._caught_up, self._buffer):
            while records and records[0].seq <= self._seq:
                records.popleft()
            if records and records[0].seq == self._seq + 1:
                return records.popleft()
        return None

    def _is_behind(self) -> bool:
        """Whether events exist that this watcher does not hold."""
        if self._head is None or self._head.last_seq > self._seq:
            return True
        return bool(self._buffer)

    async def _catch_up(self) -> None:
        if self._head is None:
            self._head = await self._feed._watch(self._job_id, self)
        stored = await self._feed._stored(self._job_id, self._seq)
        self._caught_up.extend(stored)
        if not stored:
            # Redis told of events that the database does not have: it is older than this database, or a lie.
            self._buffer.clear()
            self._head = Head(self._seq, self._head.ended)

    def _learn(self, head: Head) -> None:
        known = self._head or Head(0, False)
        self._head = Head(max(known.last_seq, head.last_seq), known.ended or head.ended)
        self._news.set()

    def _receive(self, records: Iterable[JobEventRecord]) -> None:
        self._buffer.extend(records)
        self._news.set()


@dataclass(slots=True, eq=False)
class _Watched:
    """A job that somebody watches."""

    cursor: int
    """Newest sequence number read from Redis, or known when watching began."""
    watchers: WeakSet[Subscription]


class EventFeed:
    """All subscriptions of one process. Its two tasks run while somebody watches."""

    def __init__(self, source: EventSource, live: LiveEvents, *, poll_s: float = POLL_S) -> None:
        self._source = source
        self._live = live
        self._poll_s = poll_s
        self._watched: dict[UUID, _Watched] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def subscribe(self, job_id: UUID, after_seq: int = 0) -> Subscription:
        """Every event of the job after `after_seq`, without gaps or repetitions, until the last one.

        `async with feed.subscribe(job_id, seq) as events: async for record in events: ...`
        The caller has checked that the job may be seen; a job that does not exist has no events.
        """
        return Subscription(self, job_id, after_seq)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End every subscription and both tasks. May be called twice."""
        for watched in list(self._watched.values()):
            for subscription in list(watched.watchers):
                await subscription.aclose()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, job_id: UUID, subscription: Subscription) -> Head:
        heads = await self._patiently(lambda: self._source.heads([job_id]))
        head = heads.get(job_id, Head(0, True))
        if head.ended:
            return head
        watched = self._watched.setdefault(job_id, _Watched(head.last_seq, WeakSet()))
        watched.watchers.add(subscription)
        self._start()
        # What was read from Redis before this watcher came went to others: it is in Postgres.
        return Head(max(head.last_seq, watched.cursor), head.ended)

    def _forget(self, job_id: UUID, subscription: Subscription) -> None:
        watched = self._watched.get(job_id)
        if watched is None:
            return
        watched.watchers.discard(subscription)
        if not watched.watchers:
            del self._watched[job_id]

    async def _stored(self, job_id: UUID, seq: int) -> list[JobEventRecord]:
        return await self._patiently(lambda: self._source.events_after(job_id, seq))

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await ask()
            except DependencyUnavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(RETRY_S)

    def _start(self) -> None:
        self._tasks = [task for task in self._tasks if not task.done()]
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._read_live(), name="events: read Redis"),
                asyncio.create_task(self._poll_heads(), name="events: poll Postgres"),
            ]

    async def _read_live(self) -> None:
        while True:
            cursors = {job_id: watched.cursor for job_id, watched in self._watched.items()}
            if not cursors:
                await asyncio.sleep(LIVE_WAIT_S)
                continue
            try:
                news = await self._live.read(cursors, LIVE_WAIT_S)
            except DependencyUnavailable:
                await asyncio.sleep(LIVE_WAIT_S)
                continue
            for job_id, records in news.items():
                self._deliver(job_id, records)

    def _deliver(self, job_id: UUID, records: list[JobEventRecord]) -> None:
        watched = self._watched.get(job_id)
        if watched is None or not records:
            return
        watched.cursor = max(watched.cursor, records[-1].seq)
        for subscription in watched.watchers:
            subscription._receive(records)

    async def _poll_heads(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            self._drop_unwatched()
            if not self._watched:
                continue
            try:
                heads = await self._source.heads(self._watched)
            except DependencyUnavailable:
                continue
            for job_id, watched in list(self._watched.items()):
                head = heads.get(job_id, Head(0, True))
                # Whoever misses what lies between reads it from Postgres: it knows the new head.
                watched.cursor = max(watched.cursor, head.last_seq)
                for subscription in watched.watchers:
                    subscription._learn(head)

    def _drop_unwatched(self) -> None:
        """Watchers that were dropped without closing are gone from the weak sets."""
        for job_id in [job_id for job_id, watched in self._watched.items() if not watched.watchers]:
            del self._watched[job_id]
