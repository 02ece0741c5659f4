"""How `@serve.batch` is set from settings, which are known only in the replica."""

from typing import Protocol, cast

from octavia_stream.config import ReplicaSettings


class _Batched(Protocol):
    """What Serve adds to a method it decorates, and its types do not say."""

    def set_max_batch_size(self, new_max_batch_size: int) -> None: ...

    def set_batch_wait_timeout_s(self, new_batch_wait_timeout_s: float) -> None: ...


def set_batching(method: object, limits: ReplicaSettings) -> None:
    """Call it once, in the replica's `__init__`."""
    batched = cast(_Batched, method)
    # A batch larger than the calls let into the replica would never fill and always wait.
    batched.set_max_batch_size(min(limits.max_batch_size, limits.max_ongoing_requests))
    batched.set_batch_wait_timeout_s(limits.batch_wait_ms / 1000)
