"""Work that was finished before is not done again, and the rest is begun in the order it was asked for."""

import asyncio
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
        self._last: dict[Stage, asyncio.Event] = {}
        """Of each stage, whether the piece asked for last was begun or needs no work."""

    async def __call__(
        self, stage: Stage, index: int, key: str, payload: type[T], work: Callable[[], Awaitable[T]]
    ) -> T:
        """The result that was saved under this digest, or a new one, which is then saved.

        Pieces of a stage are first begun in the order of the calls: looking for what is saved takes longer for one
        than for another, and a first sentence behind the third in an engine's queue is heard seconds later.
        """
        before, begun = self._last.get(stage), asyncio.Event()
        self._last[stage] = begun

        async def in_turn() -> None:
            if before is not None:
                await before.wait()
            # Whoever waits for this runs when the caller waits next, which is in its engine's queue.
            begun.set()

        async def attempt() -> T:
            await self._checkpoints.begin(stage, index, key)
            await in_turn()
            return await work()

        try:
            saved = await self._checkpoints.load(stage, index, key)
            if saved is not None:
                await in_turn()
                return msgspec.msgpack.decode(saved, type=payload)
            result = await with_retries(attempt, self._attempts)
        finally:
            begun.set()
        await self._checkpoints.save(stage, index, key, msgspec.msgpack.encode(result))
        return result
