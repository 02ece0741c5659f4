"""Backlog: a bounded queue between two tasks of a room, whose sender never waits: the oldest gives way."""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Backlog(Generic[T]):
    """One receiver, in order."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._news = asyncio.Event()
        self._ended = False

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def add(self, item: T) -> int:
        """Put an item behind the others; how many had to give way. Nothing is taken after `end`."""
        if self._ended:
            return 0
        self._items.append(item)
        self._news.set()
        if len(self._items) <= self._capacity:
            return 0
        self._items.popleft()
        return 1

    def end(self) -> None:
        """Nothing more comes; what waits can still be taken."""
        self._ended = True
        self._news.set()

    def first(self) -> T | None:
        """The next, which stays."""
        return self._items[0] if self._items else None

    def drop_first(self) -> None:
        """Take the next away; there must be one."""
        self._items.popleft()

    async def take(self) -> T | None:
        """The next, waiting for it; None when there will be none."""
        while not self._items:
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        return self._items.popleft()
