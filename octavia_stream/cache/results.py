"""ResultCache: what was made before is found, what is made now is kept, and jobs never wait for the keeping."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Self
from uuid import UUID

import structlog

from octavia_stream.cache.shelf import NewResult, Shelf
from octavia_stream.config import CacheSettings
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.errors import OctaviaError
from octavia_stream.telemetry import metrics

FIND_TIMEOUT_S = 5.0
"""Longer than this nobody waits for a result that an engine could make."""
PAUSE_S = 30.0
"""How long jobs go on without the cache once Postgres or the storage failed it."""
QUEUED_BYTES = 64 * 1024**2
"""Payloads that wait to be written, at most; further ones are not kept."""
KEPT_AT_ONCE = 64
GATHERED_S = 0.05
"""How long is waited for further results before some are written: one transaction for all of a busy moment."""
CHECKED_EVERY = 0.01
"""Of the limit: whether there is too much is asked each time this much was added."""
CLOSE_TIMEOUT_S = 5.0

Compute = Callable[[Sequence[int]], Awaitable[Sequence[bytes]]]
"""Makes the results of some of the pieces asked for, given their places; one each, in that order."""

log = structlog.get_logger(__name__)


class ResultCache:
    """Results by digest, for all jobs of one process, and through the shelf for all processes.

    Whatever fails in it is a result that is not there: work goes on, at the cost of doing it.
    """

    def __init__(self, shelf: Shelf, settings: CacheSettings) -> None:
        self._shelf = shelf
        self._settings = settings
        self._under_way: dict[str, asyncio.Future[bytes]] = {}
        """Results that somebody in this process makes at this moment, and those not written yet."""
        self._queue: asyncio.Queue[NewResult] = asyncio.Queue()
        self._queued_bytes = 0
        self._added_bytes = 0
        self._checked = False
        self._paused_until = 0.0
        self._keeper: asyncio.Task[None] | None = None

    @property
    def enabled(self) -> bool:
        return self._settings.limit_bytes > 0

    def scope(self, owner_id: UUID) -> UUID | None:
        """Whose results somebody's work may use: their own, or with None everybody's."""
        return None if self._settings.shared else owner_id

    async def __aenter__(self) -> Self:
        if self.enabled:
            self._keeper = asyncio.create_task(self._keep(), name="cache")
        return self

    async def __aexit__(self, *_: object) -> None:
        """What waits to be written is, if that takes no longer than a moment."""
        if self._keeper is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.written()
        except TimeoutError:
            log.info("cache_left_unwritten", results=self._queue.qsize())
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)

    async def written(self) -> None:
        """Return when all that was made until now is kept, or given up."""
        await self._queue.join()

    async def results(
        self, stage: Stage, scope: UUID | None, digests: Sequence[str], compute: Compute
    ) -> dict[str, bytes]:
        """A result for each digest: a kept one, one that somebody is just making, or else what `compute` makes.

        A digest may come several times; it is made once. Raises what `compute` does.
        """
        done: dict[str, bytes] = {}
        made = 0
        while waiting := [digest for digest in dict.fromkeys(digests) if digest not in done]:
            others = {digest: self._under_way[digest] for digest in waiting if digest in self._under_way}
            mine = [digest for digest in waiting if digest not in others]
            if mine:
                made += await self._obtain(stage, scope, digests, mine, compute, done)
            if others:
                await asyncio.wait(others.values())
            # Whoever gave up leaves it to us.
            done |= {one: future.result() for one, future in others.items() if not future.cancelled()}
        metrics.CACHE_MISSES.labels(stage).inc(made)
        metrics.CACHE_HITS.labels(stage).inc(len(digests) - made)
        return done

    async def _obtain(
        self,
        stage: Stage,
        scope: UUID | None,
        digests: Sequence[str],
        mine: Sequence[str],
        compute: Compute,
        done: dict[str, bytes],
    ) -> int:
        """Find or make what nobody else is at, into `done`; returns how many had to be made."""
        promised = {digest: asyncio.get_running_loop().create_future() for digest in mine}
        self._under_way |= promised
        kept: set[str] = set()
        try:
            found = await self._find(mine)
            missing = [digest for digest in mine if digest not in found]
            made: dict[str, bytes] = {}
            if missing:
                payloads = await compute([digests.index(digest) for digest in missing])
                made = dict(zip(missing, payloads, strict=True))
            for digest, payload in (found | made).items():
                promised[digest].set_result(payload)
            kept = {digest for digest in made if self._offer(NewResult(digest, scope, stage, made[digest]))}
            done |= found | made
            return len(made)
        finally:
            for digest, future in promised.items():
                future.cancel()  # of one that has its result this does nothing
                if digest not in kept:
                    del self._under_way[digest]

    async def _find(self, digests: Sequence[str]) -> dict[str, bytes]:
        if time.monotonic() < self._paused_until:
            return {}
        try:
            async with asyncio.timeout(FIND_TIMEOUT_S):
                found, damaged = await self._shelf.find(digests)
        except (OctaviaError, TimeoutError) as error:
            self._failed("find", error)
            return {}
        if damaged:
            metrics.CACHE_FAILURES.labels("damaged").inc(damaged)
            log.warning("cache_damaged", results=damaged)
        return found

    def _offer(self, result: NewResult) -> bool:
        """Whether it will be written."""
        if time.monotonic() < self._paused_until:
            return False
        if self._queued_bytes + len(result.payload) > QUEUED_BYTES:
            metrics.CACHE_FAILURES.labels("full").inc()
            return False
        self._queued_bytes += len(result.payload)
        self._queue.put_nowait(result)
        return True

    async def _keep(self) -> None:
        """Write what comes, as much at once as has come."""
        while True:
            results = [await self._queue.get()]
            await asyncio.sleep(GATHERED_S)
            while len(results) < KEPT_AT_ONCE and not self._queue.empty():
                results.append(self._queue.get_nowait())
            try:
                await self._write(results)
            except OctaviaError as error:
                self._failed("keep", error)
            except Exception:  # a defect here must not end the keeping of all that comes later
                log.exception("cache_broken")
                metrics.CACHE_FAILURES.labels("keep").inc()
            finally:
                for result in results:
                    del self._under_way[result.digest]
                    self._queued_bytes -= len(result.payload)
                    self._queue.task_done()

    async def _write(self, results: Sequence[NewResult]) -> None:
        added = await self._shelf.add(results)
        for result in results:
            metrics.CACHE_WRITTEN_BYTES.labels(result.stage).inc(len(result.payload))
        self._added_bytes += added
        limit = self._settings.limit_bytes
        # The first time too: what processes wrote that live no longer was not counted here.
        if not self._checked or self._added_bytes > limit * CHECKED_EVERY:
            metrics.CACHE_EVICTED_BYTES.inc(await self._shelf.evict(limit))
            self._checked, self._added_bytes = True, 0

    def _failed(self, at: str, error: Exception) -> None:
        metrics.CACHE_FAILURES.labels(at).inc()
        log.warning("cache_away", at=at, reason=str(error) or type(error).__name__, pause_s=PAUSE_S)
        self._paused_until = time.monotonic() + PAUSE_S
