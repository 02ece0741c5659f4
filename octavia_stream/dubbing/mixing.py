"""Speech over the ducked original, block by block."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octavia_stream.audio.chunk import AudioChunk, Samples

FADE_DOWN_S = 0.12
FADE_UP_S = 0.35
BRIDGE_S = 1.0
"""Between two utterances closer than this the original stays ducked: pumping is worse than quiet."""
CEILING = 0.97
"""Peaks of the mix are held below this: headroom for the lossy encoder."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One utterance to lay over the original, at the mix's rate."""

    start: int
    samples: Samples
    """Mono, gain already applied."""

    @property
    def end(self) -> int:
        return self.start + len(self.samples)


class Ducking:
    """How loud the original is at every moment: down while somebody speaks, in either language."""

    def __init__(
        self, spans: Iterable[tuple[int, int]], gain_db: float, rate_hz: int, *, elsewhere: float = 1.0
    ) -> None:
        """
        spans: where speech sounds, in samples at `rate_hz`, in any order; the gain is `gain_db` there.
        elsewhere: the gain of everything else.
        """
        low = 10 ** (gain_db / 20)
        self._elsewhere = elsewhere
        down, up, bridge = (round(s * rate_hz) for s in (FADE_DOWN_S, FADE_UP_S, BRIDGE_S))
        positions: list[int] = []
        gains: list[float] = []
        for start, end in _merged(spans, max(bridge, down + up)):
            positions += [start - down, start, end, end + up]
            gains += [elsewhere, low, low, elsewhere]
        self._positions: NDArray[np.float64] = np.asarray(positions, dtype=np.float64)
        self._gains: NDArray[np.float64] = np.asarray(gains, dtype=np.float64)

    @classmethod
    def silent(cls, kept: Iterable[tuple[int, int]], rate_hz: int) -> "Ducking":
        """Nothing of the original is heard, but where it is kept."""
        return cls(kept, 0.0, rate_hz, elsewhere=0.0)

    def envelope(self, start: int, length: int) -> NDArray[np.float32]:
        """Gain of each sample from `start` on."""
        if not self._positions.size:
            return np.full(length, self._elsewhere, dtype=np.float32)
        first = max(int(np.searchsorted(self._positions, start)) - 1, 0)
        last = int(np.searchsorted(self._positions, start + length)) + 1
        at = np.arange(start, start + length, dtype=np.float64)
        return np.interp(at, self._positions[first:last], self._gains[first:last]).astype(np.float32)


def _merged(spans: Iterable[tuple[int, int]], bridge: int) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start - merged[-1][1] <= bridge:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


async def mix(original: AsyncIterator[AudioChunk], clips: Iterable[Clip], ducking: Ducking) -> AsyncIterator[Samples]:
    """Lay clips over the original; yields blocks of the same shapes, in order.

    original: consecutive blocks, shape (n,) or (n, channels), from position 0 on.
    clips: in order of start, none overlapping the next; read only as far as needed, in a thread.
    """
    mixer = _Mixer(clips, ducking)
    async for block in original:
        # Making a clip ready takes longer than mixing it in: the loop has other jobs.
        yield await asyncio.to_thread(mixer.mixed, block)


class _Mixer:
    """Takes block after block, and of the clips those that begin in it."""

    def __init__(self, clips: Iterable[Clip], ducking: Ducking) -> None:
        self._pending = iter(clips)
        self._upcoming = next(self._pending, None)
        self._sounding: list[Clip] = []
        self._ducking = ducking

    def mixed(self, block: AudioChunk) -> Samples:
        while self._upcoming is not None and self._upcoming.start < block.end:
            self._sounding.append(self._upcoming)
            self._upcoming = next(self._pending, None)
        mixed = mix_block(block, self._sounding, self._ducking)
        self._sounding = [clip for clip in self._sounding if clip.end > block.end]
        return mixed


def mix_block(block: AudioChunk, clips: Sequence[Clip], ducking: Ducking) -> Samples:
    """One block of the mix. clips: those that sound in it, and no harm in others."""
    return _limited(_lay(block, clips, ducking))


def _lay(block: AudioChunk, clips: Sequence[Clip], ducking: Ducking) -> Samples:
    gain = ducking.envelope(block.offset, block.length)
    stereo = block.samples.ndim == 2
    mixed: Samples = block.samples * (gain[:, None] if stereo else gain)
    for clip in clips:
        start, end = max(clip.start, block.offset), min(clip.end, block.end)
        if end > start:
            speech = clip.samples[start - clip.start : end - clip.start]
            mixed[start - block.offset : end - block.offset] += speech[:, None] if stereo else speech
    return mixed


def _limited(samples: Samples) -> Samples:
    """Bend peaks above the knee smoothly towards the ceiling, sample by sample, so blocks need no memory."""
    knee = 0.8
    over = np.abs(samples) > knee
    if not over.any():
        return samples
    excess = np.abs(samples[over]) - knee
    room = CEILING - knee
    samples[over] = np.sign(samples[over]) * (knee + room * np.tanh(excess / room))
    return samples
