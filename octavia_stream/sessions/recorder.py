"""Recorder: what a speaker said, as FLAC parts in the object store, for the dub of file quality afterwards.

`live/{session}/{speaker}/{first sample, 12 digits}.flac`: 16 kHz mono, 16 bits. Positions are the room's, so parts
that are missing are silence of known length, and parts of another node follow on.
"""

import asyncio
import io
from collections import deque
from typing import NamedTuple
from uuid import UUID

import av
import numpy as np
import structlog

from octavia_stream.audio.chunk import ASR_RATE_HZ, Samples
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
    return f"live/{session_id}/"


class Recorder:
    """One session's. `run` writes, until `finish`."""

    def __init__(self, session_id: UUID, objects: ObjectStore) -> None:
        self._prefix = recording_prefix(session_id)
        self._objects = objects
        self._open: dict[str, tuple[int, list[Samples], int]] = {}
        self._parts: deque[_Part] = deque(maxlen=MOST_WAITING)
        self._news = asyncio.Event()
        self._finished = False
        self.dropped = 0
        """Parts that no store took."""

    def push(self, speaker: str, position: int, samples: Samples) -> None:
        """Take what a speaker said, mono float32 at 16 kHz; `position` is that of its first sample. Never blocks."""
        start, blocks, length = self._open.get(speaker, (position, [], 0))
        if position != start + length:
            self._cut(speaker)
            start, blocks, length = position, [], 0
        blocks.append(samples)
        self._open[speaker] = (start, blocks, length + len(samples))
        if length + len(samples) >= PART_SAMPLES:
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
            await self._objects.put(part.key, await asyncio.to_thread(flac, part.samples))
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
        start, blocks, length = self._open.pop(speaker, (0, [], 0))
        if not length:
            return
        self.dropped += len(self._parts) == MOST_WAITING
        self._parts.append(_Part(f"{self._prefix}{speaker}/{start:012d}.flac", np.concatenate(blocks)))
        self._news.set()


def flac(samples: Samples) -> bytes:
    """Mono float32 at 16 kHz as a FLAC file of 16 bits."""
    buffer = io.BytesIO()
    whole = (np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)
    with av.open(buffer, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=ASR_RATE_HZ)
        stream.layout = av.AudioLayout("mono")
        stream.format = av.AudioFormat("s16")
        frame = av.AudioFrame.from_ndarray(whole.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = ASR_RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
