"""Listener: one consumer of one language's frames. A slow one loses its oldest frames, and nobody waits for it."""

import asyncio
from collections import deque
from collections.abc import Callable

from octavia_stream.languages import Language
from octavia_stream.live.frame import Frame

QUEUE_FRAMES = 50
"""One second. Whoever is further behind hears a gap, and not what was said long ago."""


class Listener:
    """Iterate it for frames, in order; it ends with the room, or with `close`."""

    def __init__(self, language: Language, left: Callable[["Listener"], None], capacity: int = QUEUE_FRAMES) -> None:
        """left: told when this one closes."""
        self.language = language
        self.dropped = 0
        """Frames that it was too slow for."""
        self._left = left
        self._frames: deque[Frame] = deque(maxlen=capacity)
        self._news = asyncio.Event()
        self._closed = False

    @property
    def waiting(self) -> int:
        """Frames that nobody has taken yet."""
        return len(self._frames)

    def offer(self, frame: Frame) -> None:
        """For the pacer: hand a frame over, at once."""
        if self._closed:
            return
        if len(self._frames) == self._frames.maxlen:
            self.dropped += 1
        self._frames.append(frame)
        self._news.set()

    def end(self) -> None:
        """For the pacer: no frame comes after those that are waiting."""
        self._closed = True
        self._news.set()

    def close(self) -> None:
        """Hear nothing more. May be called twice."""
        self._frames.clear()
        self.end()
        self._left(self)

    def __aiter__(self) -> "Listener":
        return self

    async def __anext__(self) -> Frame:
        while not self._frames:
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._frames.popleft()
