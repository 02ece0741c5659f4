"""Throttle: so many requests in a while, counted in Redis for all processes together.

The generic cell rate algorithm (ITU-T I.371, ATM Forum): of each bucket Redis keeps one number, the moment at which it
will be full again, so that a request costs one short round trip however many came before. The script runs alone in
Redis and by its clock: two processes can neither pass one count together nor disagree about the time.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, cast

import redis.asyncio as redis
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

TIMEOUT_S = 1.0
"""What a request may lose while Redis hangs."""
QUIET_S = 2.0
"""How long nobody asks again after that."""
CONNECTIONS = 16
_PREFIX = "octavia:throttle:"

# Every bucket's number is looked at before any is changed: a request that one of them refuses costs the others nothing.
# ARGV: amount and microseconds of each bucket. Answers, of each: how many are left, and microseconds until it is full,
# and until the next one is let in (0: this one is).
_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local full, refused = {}, false
for i, key in ipairs(KEYS) do
    local amount, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    full[i] = math.max(now, tonumber(redis.call('GET', key) or '0'))
    refused = refused or full[i] + window / amount > now + window
end
local answer = {}
for i, key in ipairs(KEYS) do
    local amount, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local step = window / amount
    local wait = math.max(0, full[i] + step - now - window)
    if not refused then
        full[i] = full[i] + step
        redis.call('SET', key, string.format('%.0f', full[i]), 'PX', math.ceil((full[i] - now) / 1000) + 1)
    end
    answer[3 * i - 2] = math.max(0, math.floor((now + window - full[i]) / step + 0.001))
    answer[3 * i - 1] = math.ceil(full[i] - now)
    answer[3 * i] = math.ceil(wait)
end
return answer
"""

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bucket:
    """What somebody may ask: `amount` at once, and again after `seconds`, evenly."""

    name: str
    """Of the policy; the same for everybody."""
    who: str
    amount: int
    seconds: int

    @property
    def key(self) -> str:
        return f"{_PREFIX}{self.name}:{self.who}"


@dataclass(frozen=True, slots=True)
class Level:
    """How full a bucket is after a request."""

    bucket: Bucket
    left: int
    full_in_s: int
    wait_s: int
    """When to come back; 0: this request is let in."""


class Throttle:
    """One process's way to the buckets."""

    def __init__(self, redis_url: str) -> None:
        """redis_url: `redis://…`, `rediss://…` or `unix:///path`. Connections open when first used."""
        # Many requests at once wait for a connection instead of failing for want of one.
        pool = redis.BlockingConnectionPool.from_url(
            redis_url,
            max_connections=CONNECTIONS,
            timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
            client_name="octavia-stream-throttle",
        )
        self._client = redis.Redis.from_pool(pool)
        self._script = self._client.register_script(_SCRIPT)
        self._quiet_until = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def take(self, buckets: Sequence[Bucket]) -> list[Level]:
        """One request, from all of these or from none: whether it is let in, `wait_s` of each says.

        Empty while Redis is away: then everybody is let in, and a line in the log says so. Never raises.
        """
        if time.monotonic() < self._quiet_until:
            return []
        arguments = [number for bucket in buckets for number in (bucket.amount, bucket.seconds * 1_000_000)]
        asking = self._script(keys=[bucket.key for bucket in buckets], args=arguments)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = cast("list[int]", await asking)
        except (RedisError, OSError):
            if time.monotonic() >= self._quiet_until:
                log.warning("requests_not_counted", reason="Redis does not answer.")
            self._quiet_until = time.monotonic() + QUIET_S
            return []
        return [
            Level(bucket, answer[3 * n], _seconds(answer[3 * n + 1]), _seconds(answer[3 * n + 2]))
            for n, bucket in enumerate(buckets)
        ]


def _seconds(microseconds: int) -> int:
    return math.ceil(microseconds / 1_000_000)
