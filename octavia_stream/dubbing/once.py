"""Work that was finished before is not done again."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from octavia_stream.dubbing.checkpoints import Checkpoints, Stage
from octavia_stream.dubbing.retrying import with_retries

T = TypeVar("T")


class Once:
    """Does pieces of work of one job, each at most once under the same digest, through all its workers."""

    def __init__(self, checkpoints: Checkpoints, attempts: int) -> None:
        """attempts: how often a piece is tried when an engine is away."""
        self._checkpoints = checkpoints
        self._attempts = attempts

    async def __call__(
        self, stage: Stage, index: int, key: str, payload: type[T], work: Callable[[], Awaitable[T]]
    ) -> T:
        """The result that was saved under this digest, or a new one, which is then saved."""
        saved = await self._checkpoints.load(stage, index, key)
        if saved is not None:
            return msgspec.msgpack.decode(saved, type=payload)

        async def attempt() -> T:
            await self._checkpoints.begin(stage, index, key)
            return await work()

        result = await with_retries(attempt, self._attempts)
        await self._checkpoints.save(stage, index, key, msgspec.msgpack.encode(result))
        return result
