"""Recorder: what a speaker said, as parts in the object store, for the dub of file quality afterwards.

`live/{session}/{speaker}/{first sample, 12 digits}.pcm`: 16 kHz mono, 16 bits, little-endian. Positions are counted
from when the session was made, by the clock where a connection begins and by samples from there: so what several people
said keeps its order, what is missing is silence of known length, and parts of another node follow on.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

import numpy as np
import structlog

from octavia_stream.audio.chunk import ASR_RATE_HZ, Samples
from octavia_stream.dubbing.speech_spool import to_int16
from octavia_stream.errors import OctaviaError
from octavia_stream.storage.objects import ObjectStore

PART_SAMPLES = 10 * ASR_RATE_HZ
"""What a node that dies takes with it at most."""
MOST_WAITING = 30
"""Parts that wait for a store that is slow; five minutes."""
RETRY_S = 2.0
FINISH_S = 10.0

log = structlog.get_logger(__name__)


class _Part(NamedTuple):
    key: str
    samples: Samples


def recording_prefix(session_id: UUID) -> str:
    """Under which the parts of a session lie."""
    return f"live/{session_id}"


@dataclass(slots=True)
class _Speech:
    """One speaker's part that is not written yet."""

    start: int = 0
    blocks: list[Samples] = field(default_factory=list)
    length: int = 0
    expected: int = -1
    """Position at which the speaker's sound goes on, as the room counts it."""


class Recorder:
    """One session's. `run` writes, until `finish`."""

    def __init__(self, session_id: UUID, objects: ObjectStore, clock: Callable[[], float] = time.time) -> None:
        """clock: seconds since 1970, as the time in the session's id (UUID version 7) has them."""
        self._prefix = recording_prefix(session_id)
        self._objects = objects
        self._clock = clock
        self._began_s = (session_id.int >> 80) / 1000
        self._open: dict[str, _Speech] = {}
        self._parts: deque[_Part] = deque(maxlen=MOST_WAITING)
        self._news = asyncio.Event()
        self._finished = False
        self.dropped = 0
        """Parts that no store took."""

    def push(self, speaker: str, position: int, samples: Samples) -> None:
        """Take what a speaker said, mono float32 at 16 kHz. Never blocks.

        position: the room's, of the first sample; where it does not follow on, the clock says where this belongs.
        """
        speech = self._open.setdefault(speaker, _Speech())
        if position != speech.expected:
            self._cut(speaker)
            now = round((self._clock() - self._began_s) * ASR_RATE_HZ) - len(samples)
            speech.start = max(now, speech.start, 0)
        speech.blocks.append(samples)
        speech.length += len(samples)
        speech.expected = position + len(samples)
        if speech.length >= PART_SAMPLES:
            self._cut(speaker)

    def finish(self) -> None:
        """No more comes; `run` writes what is left and returns."""
        for speaker in tuple(self._open):
            self._cut(speaker)
        self._finished = True
        self._news.set()

    async def run(self) -> None:
        """Write parts as they come, each until the store takes it."""
        while self._parts or not self._finished:
            if not self._parts:
                self._news.clear()
                await self._news.wait()
                continue
            await self._write(self._parts[0])

    async def _write(self, part: _Part) -> None:
        try:
            await self._objects.put(part.key, await asyncio.to_thread(_pcm, part.samples))
        except OctaviaError as error:
            log.warning("a part of a recording could not be stored", reason=str(error))
            if not error.retryable:
                self.dropped += 1
            elif not self._finished:
                await asyncio.sleep(RETRY_S)
                return
        if self._parts and self._parts[0] is part:
            self._parts.popleft()

    def _cut(self, speaker: str) -> None:
        speech = self._open[speaker]
        if not speech.length:
            return
        self.dropped += len(self._parts) == MOST_WAITING
        self._parts.append(_Part(f"{self._prefix}/{speaker}/{speech.start:012d}.pcm", np.concatenate(speech.blocks)))
        speech.start += speech.length
        speech.blocks, speech.length = [], 0
        self._news.set()


def _pcm(samples: Samples) -> bytes:
    return to_int16(samples).tobytes()
