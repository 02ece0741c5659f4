"""The throttle: exact however many ask at once, even in time, and out of the way when Redis is."""

import asyncio
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from octavia_stream.quotas import throttle as throttle_module
from octavia_stream.quotas.throttle import Bucket, Throttle

pytestmark = pytest.mark.services


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy for a second is not a Redis that is away."""
    monkeypatch.setattr(throttle_module, "TIMEOUT_S", 60.0)


def bucket(amount: int, seconds: int = 3600, who: str | None = None) -> Bucket:
    return Bucket("test", who or uuid4().hex, amount, seconds)


async def taken(throttle: Throttle, *buckets: Bucket) -> bool:
    levels = await throttle.take(buckets)
    assert levels, "Redis did not answer"
    return not any(level.wait_s for level in levels)


async def test_of_500_at_once_from_two_processes_just_as_many_pass_as_the_bucket_holds(redis_url: str) -> None:
    one = bucket(100)
    async with Throttle(redis_url) as here, Throttle(redis_url) as there:
        asked = [taken(throttle, one) for _ in range(250) for throttle in (here, there)]
        passed = sum(await asyncio.gather(*asked))
    assert passed == 100


async def test_a_bucket_says_what_is_left_and_when_to_come_back(redis_url: str) -> None:
    one = bucket(4, seconds=4000)
    async with Throttle(redis_url) as throttle:
        levels = [(await throttle.take([one]))[0] for _ in range(5)]
    assert [level.left for level in levels] == [3, 2, 1, 0, 0]
    assert [level.wait_s > 0 for level in levels] == [False, False, False, False, True]
    # One drips in every 1,000 seconds; full again are four.
    assert 900 < levels[4].wait_s <= 1000
    assert 3900 < levels[4].full_in_s <= 4000


async def test_what_one_bucket_refuses_costs_the_others_nothing(redis_url: str) -> None:
    wide, narrow = bucket(10), bucket(1)
    async with Throttle(redis_url) as throttle:
        assert await taken(throttle, wide, narrow)
        assert not await taken(throttle, wide, narrow)
        assert not await taken(throttle, wide, narrow)
        assert (await throttle.take([wide]))[0].left == 8


async def test_a_bucket_fills_again_by_the_clock_of_redis(redis_url: str) -> None:
    one = bucket(3, seconds=3600)
    async with Throttle(redis_url) as throttle, Redis.from_url(redis_url) as client:
        assert [await taken(throttle, one) for _ in range(4)] == [True, True, True, False]
        full_at = int(await client.get(one.key) or 0)
        # As if an hour had passed.
        await client.set(one.key, full_at - 3600 * 1_000_000)
        assert [await taken(throttle, one) for _ in range(4)] == [True, True, True, False]
        assert 0 < await client.pttl(one.key) <= 3600_000 + 1


async def test_while_redis_is_away_everybody_passes_and_nobody_waits_for_it_twice() -> None:
    # Port 9 of loopback: nobody listens.
    async with Throttle("redis://127.0.0.1:9/0") as throttle:
        assert [await throttle.take([bucket(1, who="same")]) for _ in range(50)] == [[]] * 50
        assert throttle._quiet_until > 0
