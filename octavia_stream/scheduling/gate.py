"""Gate: a FairQueue whose calls are coroutines of this event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from octavia_stream.scheduling.fair_queue import FairQueue
from octavia_stream.scheduling.share import Share


class Gate:
    """Lets so many callers through at once, fairly by tenant."""

    def __init__(self, slots: int) -> None:
        """slots: what the servers behind it take at once: more would wait in their queue, which is fair to nobody."""
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue(slots)

    @property
    def slots(self) -> int:
        return self._queue.slots

    @slots.setter
    def slots(self, slots: int) -> None:
        self._queue.slots = slots
        self._admit()

    @property
    def queued_cost(self) -> float:
        """Cost of all calls that wait."""
        return self._queue.queued_cost

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return self._queue.waiting

    @property
    def running(self) -> int:
        """Calls that were let through and have not ended."""
        return self._queue.running

    @asynccontextmanager
    async def turn(self, share: Share, cost: float) -> AsyncIterator[None]:
        """Wait for a slot and hold it. Cancelled while waiting, the call is gone at once and costs nobody anything."""
        turn = asyncio.get_running_loop().create_future()
        ticket = self._queue.push(share, cost, turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            # The slot may have been given in the very moment of the cancel.
            if not self._queue.withdraw(ticket):
                self._leave()
            raise
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        self._queue.finish()
        self._admit()

    def _admit(self) -> None:
        while (turn := self._queue.start_next()) is not None:
            # A cancelled one gives its slot back as soon as its caller runs.
            if not turn.done():
                turn.set_result(None)
