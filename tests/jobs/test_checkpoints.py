"""What is finished is not done again, unless its result is damaged."""

import hashlib
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from octavia_stream.errors import LeaseLost
from octavia_stream.jobs.checkpoints import JobCheckpoints
from octavia_stream.jobs.job import Claim, Job
from octavia_stream.runtime import Runtime

pytestmark = pytest.mark.services

DIGEST = hashlib.sha256(b"input, model and settings").hexdigest()


async def _claim(runtime: Runtime) -> Claim:
    claim = await runtime.jobs.claim("w", 30.0)
    assert claim is not None
    return claim


def _checkpoints(runtime: Runtime, claim: Claim) -> JobCheckpoints:
    return JobCheckpoints(runtime.jobs, runtime.objects, claim)


async def _key(runtime: Runtime, claim: Claim) -> str:
    found = await runtime.jobs.chunk_result(claim.job.id, "transcribe", 0, DIGEST)
    assert found is not None
    return found[0]


async def test_a_saved_result_is_there_for_the_next_worker(
    runtime: Runtime, submitted: Callable[[], Awaitable[Job]], expire: Callable[[UUID], Awaitable[object]]
) -> None:
    job = await submitted()
    first = _checkpoints(runtime, await _claim(runtime))
    assert await first.load("transcribe", 0, DIGEST) is None
    await first.begin("transcribe", 0, DIGEST)
    assert await first.load("transcribe", 0, DIGEST) is None
    await first.save("transcribe", 0, DIGEST, b"words")
    await expire(job.id)
    second = _checkpoints(runtime, await _claim(runtime))
    assert await second.load("transcribe", 0, DIGEST) == b"words"
    assert await second.load("transcribe", 1, DIGEST) is None
    assert await second.load("transcribe", 0, DIGEST[::-1]) is None


async def test_a_damaged_or_missing_object_is_made_again(
    runtime: Runtime, submitted: Callable[[], Awaitable[Job]]
) -> None:
    await submitted()
    claim = await _claim(runtime)
    checkpoints = _checkpoints(runtime, claim)
    await checkpoints.begin("transcribe", 0, DIGEST)
    await checkpoints.save("transcribe", 0, DIGEST, b"words")
    await runtime.objects.put(await _key(runtime, claim), b"wards")
    assert await checkpoints.load("transcribe", 0, DIGEST) is None
    await checkpoints.begin("transcribe", 0, DIGEST)
    await checkpoints.save("transcribe", 0, DIGEST, b"words")
    assert await checkpoints.load("transcribe", 0, DIGEST) == b"words"
    await runtime.objects.delete(await _key(runtime, claim))
    assert await checkpoints.load("transcribe", 0, DIGEST) is None


async def test_a_worker_that_lost_its_lease_cannot_spoil_the_result_of_the_next(
    runtime: Runtime, submitted: Callable[[], Awaitable[Job]], expire: Callable[[UUID], Awaitable[object]]
) -> None:
    job = await submitted()
    old = _checkpoints(runtime, await _claim(runtime))
    await expire(job.id)
    new = _checkpoints(runtime, await _claim(runtime))
    await new.save("transcribe", 0, DIGEST, b"right")
    with pytest.raises(LeaseLost):
        await old.begin("transcribe", 0, DIGEST)
    with pytest.raises(LeaseLost):
        await old.save("transcribe", 0, DIGEST, b"stale")
    assert await new.load("transcribe", 0, DIGEST) == b"right"
