"""Calls of different jobs in one call of the engine, as settings say, which are known only in the replica."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from ray import serve

from octavia_stream.config import ReplicaSettings

Q = TypeVar("Q")
A = TypeVar("A")


def batched(
    compute: Callable[[Sequence[Q]], Awaitable[list[A]]], limits: ReplicaSettings, concurrent: int = 1
) -> Callable[[Q], Awaitable[A]]:
    """What answers one request, by computing it together with others. concurrent: batches at once."""

    # A batch larger than the calls let into the replica would never fill and always wait.
    @serve.batch(
        max_batch_size=min(limits.max_batch_size, limits.max_ongoing_requests),
        batch_wait_timeout_s=limits.batch_wait_ms / 1000,
        max_concurrent_batches=concurrent,
    )
    async def compute_together(requests: Sequence[Q]) -> list[A]:
        return await compute(requests)

    return compute_together
