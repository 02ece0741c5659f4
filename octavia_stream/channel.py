"""A bounded, closable queue between two tasks: when it is full, the sender waits."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelClosed(Exception):
    """Nothing more will come."""


class Channel(Generic[T]):
    """One sender, one receiver, in order. Iterating it ends when the sender closes it."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a channel holds at least one item")
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._changed = asyncio.Condition()
        self._closed = False

    async def send(self, item: T) -> None:
        """Wait for room, then hand the item over. Raises ChannelClosed after `close`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._closed:
                raise ChannelClosed
            self._items.append(item)
            self._changed.notify_all()

    async def receive(self) -> T:
        """The next item. Raises ChannelClosed when there will be none."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._items or self._closed)
            if not self._items:
                raise ChannelClosed
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    async def close(self) -> None:
        """Say that nothing more comes; what is inside can still be received. May be called twice."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __aiter__(self) -> "Channel[T]":
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except ChannelClosed:
            raise StopAsyncIteration from None
