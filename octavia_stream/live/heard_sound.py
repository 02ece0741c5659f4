"""HeardSound: the last seconds of what a speaker said. Pure."""

from collections import deque

import numpy as np

from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk


class HeardSound:
    """A stretch without holes: positions in samples at 16 kHz on the speaker's timeline."""

    def __init__(self, position: int, kept_s: float) -> None:
        self._blocks: deque[AudioChunk] = deque()
        self._kept = round(kept_s * ASR_RATE_HZ)
        self.end = position

    def append(self, block: AudioChunk) -> AudioChunk:
        """Add a block; what was added, with silence in the place of what was lost before it."""
        lost = block.offset - self.end
        if lost > 0:
            silence = np.zeros(lost, np.float32)
            block = AudioChunk(np.concatenate([silence, block.samples]), block.rate_hz, self.end)
        self._blocks.append(block)
        self.end = block.end
        while self._blocks[0].end < self.end - self._kept:
            self._blocks.popleft()
        return block

    def cut(self, start: int, end: int) -> AudioChunk:
        """What is kept of a stretch."""
        parts = [block.cut(start, end) for block in self._blocks if block.end > start and block.offset < end]
        if not parts:
            return AudioChunk(np.zeros(0, np.float32), ASR_RATE_HZ, start)
        return AudioChunk(np.concatenate([part.samples for part in parts]), ASR_RATE_HZ, parts[0].offset)
