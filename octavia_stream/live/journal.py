"""Journal: what happened in a room, numbered, for everybody who follows it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from octavia_stream.live.events import AnyLiveEvent, LiveRecord

KEPT_RECORDS = 2000


class Journal:
    """The last records, and whoever waits for the next. Numbers go up by one."""

    def __init__(self, clock: Callable[[], float], last: int = 0) -> None:
        """last: the number given last, by whoever had the room before."""
        self._clock = clock
        self._began = clock()
        self._records: deque[LiveRecord] = deque(maxlen=KEPT_RECORDS)
        self._waiting: set[asyncio.Future[None]] = set()
        self._ended = False
        self.last = last

    def write(self, event: AnyLiveEvent) -> None:
        """Number an event and wake whoever follows. After `end` nothing is written."""
        if self._ended:
            return
        self.last += 1
        self._records.append(LiveRecord(self.last, round(self._clock() - self._began, 3), event))
        self._wake()

    def end(self) -> None:
        """The last record is written."""
        self._ended = True
        self._wake()

    async def follow(self, after: int = 0) -> AsyncIterator[LiveRecord]:
        """Records with a higher number, in order and without a gap, until the end.

        One that is kept no longer is not there: it begins with the oldest that is.
        """
        while True:
            for record in self._after(after):
                after = record.seq
                yield record
            if self._after(after):
                continue
            if self._ended:
                return
            news = asyncio.get_running_loop().create_future()
            self._waiting.add(news)
            try:
                await news
            finally:
                self._waiting.discard(news)

    def _after(self, number: int) -> list[LiveRecord]:
        if not self._records or self._records[-1].seq <= number:
            return []
        first = max(number + 1 - self._records[0].seq, 0)
        return [self._records[index] for index in range(first, len(self._records))]

    def _wake(self) -> None:
        for news in self._waiting:
            if not news.done():
                news.set_result(None)
        self._waiting.clear()
