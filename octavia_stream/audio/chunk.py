"""AudioChunk: samples, their rate, and where on the timeline they start."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Float32 in [-1, 1]; mono has shape (n,), several channels (n, channels)."""

ASR_RATE_HZ = 16_000
"""What Whisper and Silero listen at; positions on a job's timeline are counted at this rate."""


@dataclass(frozen=True, slots=True, eq=False)
class AudioChunk:
    """A stretch of sound. Arrays are read-only by custom, for Ray may give them back so."""

    samples: Samples
    rate_hz: int
    offset: int = 0
    """Position of the first sample on the timeline, in samples at `rate_hz`."""

    @property
    def length(self) -> int:
        """Samples per channel."""
        return int(self.samples.shape[0])

    @property
    def end(self) -> int:
        """Position just after the last sample."""
        return self.offset + self.length

    @property
    def duration_s(self) -> float:
        return self.length / self.rate_hz

    def cut(self, start: int, end: int) -> "AudioChunk":
        """The part between two timeline positions (samples at `rate_hz`), clipped to this chunk."""
        first = min(max(start, self.offset), self.end)
        last = min(max(end, first), self.end)
        return AudioChunk(self.samples[first - self.offset : last - self.offset], self.rate_hz, first)
