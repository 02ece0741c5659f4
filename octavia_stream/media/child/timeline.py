"""Keeps position equal to presentation time: fills gaps, drops overlaps."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

TOLERANCE_S = 0.010
"""Timestamps may be this far from where the samples say. Matroska rounds to a millisecond, others are worse;
correcting every such step would click. What grows beyond is corrected to the sample."""


class Timeline:
    """Sound of one track, laid where its timestamps say; shape (n, channels) in and out."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._tolerance = round(TOLERANCE_S * rate_hz)
        self._block = rate_hz
        self._channels = channels
        self.position = 0
        """Samples laid so far."""
        self.filled = 0
        self.dropped = 0

    def place(self, position: int | None, samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Yield what comes next so that `samples` start at `position`; None continues where the last ended."""
        if position is not None and abs(position - self.position) > self._tolerance:
            yield from self._fill(position - self.position)
            overlap = min(max(self.position - position, 0), len(samples))
            self.dropped += overlap
            samples = samples[overlap:]
        if len(samples):
            self.position += len(samples)
            yield samples

    def _fill(self, missing: int) -> Iterator[NDArray[np.float32]]:
        """Silence a block at a time: a lying timestamp must not ask for gigabytes at once."""
        while missing > 0:
            count = min(missing, self._block)
            missing -= count
            self.filled += count
            self.position += count
            yield np.zeros((count, self._channels), np.float32)
