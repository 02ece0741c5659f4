"""Ask again when a model server dies: the corridor's answer to retryable errors."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from octavia_stream.errors import OctaviaError, Overloaded

T = TypeVar("T")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 8.0
OVERLOAD_DEADLINE_S = 600.0
"""How long a batch job waits for a place in a full queue before it gives up."""


async def with_retries(call: Callable[[], Awaitable[T]], attempts: int) -> T:
    """Call until it works, at most `attempts` times; the last error reaches the caller.

    A full queue is no failed attempt: batch work waits for its turn.
    """
    pause = FIRST_PAUSE_S
    failures = 0
    waited = 0.0
    while True:
        try:
            return await call()
        except Overloaded:
            if waited >= OVERLOAD_DEADLINE_S:
                raise
        except OctaviaError as error:
            failures += 1
            if not error.retryable or failures >= attempts:
                raise
        await asyncio.sleep(pause)
        waited += pause
        pause = min(pause * 2, LONGEST_PAUSE_S)
