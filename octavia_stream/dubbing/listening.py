"""The door's inner side: sound comes in, chunks to transcribe go out."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np

from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk, Samples
from octavia_stream.channel import Channel
from octavia_stream.dubbing.loudness import LoudnessContour
from octavia_stream.dubbing.progress import ProgressTracker
from octavia_stream.vad.chunking import ChunkPlanner, ChunkSpan
from octavia_stream.vad.detector import SpeechDetector

FIRST_SHARE = 0.5
"""Half a chunk is understood and spoken earlier than a whole one, and is enough to tell a language by. It is one call
more, and recognition takes as long for half a chunk as for a whole one."""


@dataclass(frozen=True, slots=True, eq=False)
class SpeechChunk:
    """Up to 30 s of sound with speech in it, to be transcribed at once."""

    index: int
    audio: AudioChunk
    final_until: int
    """Position before which no later chunk has words, in samples at 16 kHz."""


class Listener:
    """Finds speech as sound flows by; keeps no more of it than the chunk being cut."""

    def __init__(
        self, detector: SpeechDetector, contour: LoudnessContour, progress: ProgressTracker, *, awaited: bool = False
    ) -> None:
        """awaited: somebody plays what is made while the rest is; the first chunk is shorter then."""
        self._detector = detector
        self._contour = contour
        self._progress = progress
        self._planner = ChunkPlanner(first_share=FIRST_SHARE if awaited else 1.0)
        self._kept: list[AudioChunk] = []
        self.length = 0
        """Samples heard so far."""
        self.chunks = 0
        """Chunks cut so far."""
        self.end: int | None = None
        """The file's length, when all of it has been heard."""

    async def listen(self, sound: AsyncIterator[AudioChunk], outbox: Channel[SpeechChunk]) -> None:
        """sound: consecutive mono blocks at 16 kHz from position 0 on. Closes `outbox` at the end."""
        loop = asyncio.get_running_loop()
        async for block in sound:
            self.length = block.end
            self._kept.append(block)
            spans = await loop.run_in_executor(None, self._hear, block.samples)
            await self._send(spans, outbox)
            self._kept = [kept for kept in self._kept if kept.end > self._planner.needed_from]
        spans = await loop.run_in_executor(None, self._finish)
        await self._send(spans, outbox)
        self.end = self.length
        self._progress.expect("transcribe", 0, final=True)
        await outbox.close()

    def _hear(self, samples: Samples) -> list[ChunkSpan]:
        self._contour.push(samples)
        return self._planner.push(self._detector.push(samples))

    def _finish(self) -> list[ChunkSpan]:
        return [*self._planner.push(self._detector.finish()), *self._planner.finish()]

    async def _send(self, spans: list[ChunkSpan], outbox: Channel[SpeechChunk]) -> None:
        self._progress.expect("transcribe", len(spans))
        self.chunks += len(spans)
        for span in spans:
            await outbox.send(SpeechChunk(span.index, self._cut(span), span.end))

    def _cut(self, span: ChunkSpan) -> AudioChunk:
        parts = [block.cut(span.start, span.end) for block in self._kept]
        samples = np.concatenate([part.samples for part in parts if part.length])
        return AudioChunk(samples, ASR_RATE_HZ, span.start)
