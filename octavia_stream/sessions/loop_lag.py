"""How late the event loop is: what a frame of 20 ms that is due waits for."""

import asyncio
from collections import deque

TICK_S = 0.05
KEPT_TICKS = 600
"""Half a minute."""


class LoopLag:
    """Measures the loop that it runs on; costs twenty wake-ups a second."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=KEPT_TICKS)

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self._late.append(max(loop.time() - due, 0.0))

    def p99_s(self) -> float:
        """What 99 of 100 ticks of the last half minute were not later than, in seconds; 0 before the first."""
        if not self._late:
            return 0.0
        ordered = sorted(self._late)
        return ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)]
