"""Stateful resampler: blocks of any size in one rate in, blocks of another out, total length exact.

Wraps soxr (LGPL-2.1), the resampler of the SoX project, at its high quality.
"""

import numpy as np
import soxr

from octavia_stream.audio.chunk import AudioChunk, Samples


def resampled_length(length: int, from_hz: int, to_hz: int) -> int:
    """Samples that `length` samples become: the nearest whole number, halves up."""
    return (2 * length * to_hz + from_hz) // (2 * from_hz)


class Resampler:
    """Streams samples from one rate to another; no drift, and exactly `resampled_length` samples in total."""

    def __init__(self, from_hz: int, to_hz: int, channels: int = 1) -> None:
        self._from_hz = from_hz
        self._to_hz = to_hz
        self._channels = channels
        self._stream = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32")
        self._taken = 0
        self._given = 0

    def push(self, samples: Samples) -> Samples:
        """Take a block, shape (n,) for one channel or (n, channels); return what is ready, of as many dimensions."""
        self._taken += len(samples)
        if self._stream is None:
            return samples
        ready: Samples = self._stream.resample_chunk(np.ascontiguousarray(samples, dtype=np.float32))
        self._given += len(ready)
        return ready

    def finish(self, dimensions: int = 2) -> Samples:
        """No more comes: the rest. dimensions: 1 for shape (n,), 2 for (n, channels)."""
        nothing: Samples = np.zeros((0, self._channels)[:dimensions], dtype=np.float32)
        if self._stream is None:
            return nothing
        rest: Samples = self._stream.resample_chunk(nothing, last=True)
        missing = resampled_length(self._taken, self._from_hz, self._to_hz) - self._given - len(rest)
        if missing > 0:
            # soxr rounds its total by itself, and may end a sample early.
            return np.concatenate([rest, np.zeros((missing, *rest.shape[1:]), np.float32)])
        return rest[: len(rest) + missing]


def resample(chunk: AudioChunk, rate_hz: int) -> AudioChunk:
    """A whole chunk at another rate; its offset is the nearest position at that rate."""
    if chunk.rate_hz == rate_hz:
        return chunk
    samples = chunk.samples
    resampler = Resampler(chunk.rate_hz, rate_hz, 1 if samples.ndim == 1 else samples.shape[1])
    parts = [resampler.push(samples), resampler.finish(samples.ndim)]
    return AudioChunk(np.concatenate(parts), rate_hz, resampled_length(chunk.offset, chunk.rate_hz, rate_hz))
