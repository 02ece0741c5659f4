"""One stage of the corridor: many calls at once, results in order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from octavia_stream.channel import Channel

A = TypeVar("A")
B = TypeVar("B")


async def run_stage(inbox: Channel[A], outbox: Channel[B], call: Callable[[A], Awaitable[B]], window: int) -> None:
    """Call `call` on every item of `inbox`, up to `window` at a time, and send results to `outbox` in order.

    Memory is bounded by the window: an item is taken only when its call can start. The first call that
    raises ends the stage, cancels the others, and its error reaches the caller. Closes `outbox` at the end.
    """
    started: Channel[asyncio.Task[B]] = Channel(window)
    slots = asyncio.Semaphore(window)

    async def run(item: A) -> B:
        return await call(item)

    async def start_calls(group: asyncio.TaskGroup) -> None:
        await slots.acquire()
        async for item in inbox:
            await started.send(group.create_task(run(item)))
            await slots.acquire()
        await started.close()

    async def hand_on() -> None:
        async for task in started:
            result = await task
            slots.release()
            await outbox.send(result)
        await outbox.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(start_calls(group))
        group.create_task(hand_on())
