"""How late the event loop is: what a frame of 20 ms that is due waits for."""

import asyncio
from collections import deque
from collections.abc import Callable

TICK_S = 0.05
IDLE_TICK_S = 1.0
KEPT_TICKS = 600
"""Half a minute of them."""


class LoopLag:
    """Measures the loop that it runs on: twenty times a second while there is something to be late with."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        self._late: deque[float] = deque(maxlen=KEPT_TICKS)

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            pause = TICK_S if self._busy() else IDLE_TICK_S
            due = loop.time() + pause
            await asyncio.sleep(pause)
            self._late.append(max(loop.time() - due, 0.0))

    def p99_s(self) -> float:
        """What 99 of 100 ticks of the last half minute were not later than, in seconds; 0 before the first."""
        if not self._late:
            return 0.0
        ordered = sorted(self._late)
        return ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)]
