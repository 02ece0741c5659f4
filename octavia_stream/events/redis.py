"""Redis Streams as the fast path for events, and a bell for workers.

Nothing here is the truth: an event is a row before it is an entry, so a Redis that
is dead, hung or wiped costs at most the seconds until somebody polls Postgres.
"""

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Self, TypeAlias, cast
from uuid import UUID

import msgspec
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from octavia_stream.errors import DependencyUnavailable
from octavia_stream.events.event import JobEventRecord
from octavia_stream.telemetry.metrics import EVENTS_DROPPED

STREAM_MAX_LENGTH = 1000
STREAM_TTL_S = 3600
PUBLISH_TIMEOUT_S = 0.25
"""What a job may lose on one event while Redis hangs."""
READ_MARGIN_S = 1.0
KEPT_TIMEOUT_S = 1.0
TOLD_TIMEOUT_S = 4.0
PAUSE_AFTER_FAILURE_S = 2.0
_WORK = "octavia:work"
_COUNTS = "octavia:metrics"
_CARD = "octavia:process:"
_CARDS = "octavia:processes"

_Answer: TypeAlias = "list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]"
"""What XREAD gives: (stream, [(entry id, fields)])."""


def _stream(job_id: UUID) -> str:
    return f"octavia:events:{job_id}"


class RedisEvents:
    """One process's connections to Redis."""

    def __init__(self, url: str) -> None:
        """url: `redis://…`, `rediss://…` or `unix:///path`. Connections open when first used."""
        self._client = redis.Redis.from_url(
            url,
            socket_connect_timeout=1.0,
            # Reads block on purpose: every call below has a deadline of its own.
            socket_timeout=None,
            max_connections=32,
            retry=Retry(NoBackoff(), 0),
            client_name="octavia-stream",
        )
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(JobEventRecord)
        self._quiet_until = 0.0
        self._work_seen = "0"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """May be called twice."""
        await self._client.aclose()

    async def ping(self) -> None:
        """Raises DependencyUnavailable when Redis does not answer within a second."""
        try:
            async with asyncio.timeout(1.0):
                await self._client.get("octavia:ping")
        except (RedisError, OSError) as error:
            raise DependencyUnavailable("Redis cannot be reached just now; try again in a few seconds.") from error

    async def publish(self, job_id: UUID, records: Sequence[JobEventRecord]) -> None:
        """Add events of one job under the ids `{seq}-0`. Never raises; a failure mutes it for a moment."""
        if not records:
            return
        if time.monotonic() < self._quiet_until:
            EVENTS_DROPPED.labels("redis").inc(len(records))
            return
        pipe = self._client.pipeline(transaction=False)
        for record in records:
            pipe.xadd(
                _stream(job_id),
                {"e": self._encoder.encode(record)},
                id=f"{record.seq}-0",
                maxlen=STREAM_MAX_LENGTH,
                approximate=True,
            )
        pipe.expire(_stream(job_id), STREAM_TTL_S)
        try:
            # An id that is not the newest is refused: then another commit came first, and readers see the gap.
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await pipe.execute(raise_on_error=False)
        except (RedisError, OSError):
            EVENTS_DROPPED.labels("redis").inc(len(records))
            self._quiet_until = time.monotonic() + PAUSE_AFTER_FAILURE_S

    async def read(self, after: Mapping[UUID, int], wait_s: float) -> dict[UUID, list[JobEventRecord]]:
        """Entries of many jobs, each after its own sequence number; waits up to `wait_s` for the first.

        Raises DependencyUnavailable.
        """
        streams = {_stream(job_id).encode(): job_id for job_id in after}
        cursors = {_stream(job_id): f"{seq}-0" for job_id, seq in after.items()}
        try:
            answer = await self._xread(cursors, wait_s)
            return {
                streams[name]: [self._decoder.decode(fields[b"e"]) for _, fields in entries] for name, entries in answer
            }
        except (RedisError, OSError, msgspec.MsgspecError) as error:
            raise DependencyUnavailable("Redis cannot be reached just now.") from error

    async def notify_work(self) -> None:
        """Wake every worker that waits. Never raises."""
        if time.monotonic() < self._quiet_until:
            return
        adding = self._client.xadd(_WORK, {"w": b""}, maxlen=1, approximate=False)
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await adding
        except (RedisError, OSError):
            self._quiet_until = time.monotonic() + PAUSE_AFTER_FAILURE_S

    async def wait_for_work(self, timeout: float) -> bool:
        """Return True soon after `notify_work`, False after `timeout` seconds; a hint that was missed, or a dead
        Redis, only costs the time out. One waiter per object."""
        started = time.monotonic()
        try:
            answer = await self._xread({_WORK: self._work_seen}, timeout)
        except (RedisError, OSError):
            # The stream may have started anew: its ids are times, but nothing says the clock did not step back.
            self._work_seen = "0"
            await asyncio.sleep(max(0.0, timeout - (time.monotonic() - started)))
            return False
        for _, entries in answer:
            self._work_seen = entries[-1][0].decode()
            return True
        return False

    async def keep(self, key: str, value: str, seconds: int) -> None:
        """Remember a value for a while. Raises DependencyUnavailable."""
        try:
            async with asyncio.timeout(KEPT_TIMEOUT_S):
                await self._client.set(f"octavia:kept:{key}", value, ex=seconds)
        except (RedisError, OSError) as error:
            raise DependencyUnavailable("Redis cannot be reached just now; try again in a few seconds.") from error

    async def take(self, key: str) -> str | None:
        """What `keep` remembered, once: the first to ask gets it. Raises DependencyUnavailable."""
        try:
            async with asyncio.timeout(KEPT_TIMEOUT_S):
                value = await self._client.getdel(f"octavia:kept:{key}")
        except (RedisError, OSError) as error:
            raise DependencyUnavailable("Redis cannot be reached just now; try again in a few seconds.") from error
        return value.decode() if isinstance(value, bytes) else value

    async def add_counts(self, changes: Mapping[str, float]) -> None:
        """Add to what all processes have counted. Raises DependencyUnavailable."""
        pipe = self._client.pipeline(transaction=True)
        for name, change in changes.items():
            pipe.hincrbyfloat(_COUNTS, name, change)
        await self._answered(pipe.execute())

    async def counts(self) -> dict[str, float]:
        """What all processes have counted since Redis was empty. Raises DependencyUnavailable."""
        found = await self._answered(self._client.hgetall(_COUNTS))
        return {name.decode(): float(value) for name, value in found.items()}

    async def show(self, card_id: str, card: bytes, seconds: int) -> None:
        """Put a process's card up for a while. Raises DependencyUnavailable."""
        pipe = self._client.pipeline(transaction=True)
        pipe.set(_CARD + card_id, card, ex=seconds)
        pipe.sadd(_CARDS, card_id)
        await self._answered(pipe.execute())

    async def shown(self) -> list[bytes]:
        """Every card that is up. Raises DependencyUnavailable."""
        ids = [member.decode() for member in await self._answered(self._client.smembers(_CARDS))]
        if not ids:
            return []
        cards = await self._answered(self._client.mget([_CARD + card_id for card_id in ids]))
        if gone := [card_id for card_id, card in zip(ids, cards, strict=True) if card is None]:
            await self._answered(self._client.srem(_CARDS, *gone))
        return [card for card in cards if card is not None]

    async def withdraw(self, card_id: str) -> None:
        """Take a card away. Raises DependencyUnavailable."""
        pipe = self._client.pipeline(transaction=True)
        pipe.delete(_CARD + card_id)
        pipe.srem(_CARDS, card_id)
        await self._answered(pipe.execute())

    async def _answered(self, call: Awaitable[Any]) -> Any:
        """An answer that nobody waits for. Raises DependencyUnavailable."""
        try:
            async with asyncio.timeout(TOLD_TIMEOUT_S):
                return await call
        except (RedisError, OSError) as error:
            raise DependencyUnavailable("Redis cannot be reached just now; try again in a few seconds.") from error

    async def _xread(self, cursors: Mapping[str, str], wait_s: float) -> "_Answer":
        reading = self._client.xread(
            {name: seen for name, seen in cursors.items()},  # noqa: C416  (the key's type is invariant)
            count=100,
            block=max(1, int(wait_s * 1000)),
        )
        async with asyncio.timeout(wait_s + READ_MARGIN_S):
            return cast("_Answer", await reading)
