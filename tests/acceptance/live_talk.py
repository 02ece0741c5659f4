"""A speaker and a reader of a live session who come back whenever they are cut off, as clients should."""

import asyncio
from contextlib import suppress
from typing import Any, Self

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from octavia_stream.live.events import LiveRecord, PhraseSpoken

BLOCK = 24_000
"""Bytes of half a second."""
BLOCK_S = 0.5
PAUSE_S = 0.2


class LiveTalk:
    """Speaks the same sound again and again, in real time, and reads what is told. A context manager."""

    def __init__(self, session: dict[str, Any], pcm: bytes) -> None:
        """session: as the api gave it. pcm: 16 bits, mono, 24 kHz."""
        self._session = session
        self._pcm = pcm
        self._said = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.records: list[LiveRecord] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._again(one)) for one in (self._speak, self._read)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def more_phrases(self, count: int) -> None:
        """Until so many more were spoken."""
        wanted = self._spoken() + count
        while self._spoken() < wanted:
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(PAUSE_S)

    def _spoken(self) -> int:
        return sum(isinstance(record.event, PhraseSpoken) for record in self.records)

    async def _again(self, once: Any) -> None:
        while True:
            with suppress(WebSocketException, OSError, TimeoutError):
                await once()
            await asyncio.sleep(PAUSE_S)

    async def _speak(self) -> None:
        url = f"{self._session['socket_url']}?token={self._session['token']}&out=0"
        async with connect(url, max_size=None) as socket:
            hearing = asyncio.create_task(_ignored(socket))
            try:
                while not hearing.done():
                    start = self._said % len(self._pcm)
                    await socket.send(self._pcm[start : start + BLOCK])
                    self._said += BLOCK
                    await asyncio.sleep(BLOCK_S)
            finally:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)

    async def _read(self) -> None:
        seen = self.records[-1].seq if self.records else 0
        url = f"{self._session['events_url']}?token={self._session['token']}&after={seen}"
        async with connect(url) as socket:
            async for text in socket:
                self.records.append(msgspec.json.decode(text, type=LiveRecord))


async def _ignored(socket: Any) -> None:
    async for _ in socket:
        pass
