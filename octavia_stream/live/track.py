"""Track: what sounds in one language, frame by frame. Pure; positions in samples at 48 kHz."""

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from octavia_stream.audio.chunk import Samples
from octavia_stream.live.frame import FRAME_SAMPLES, OUTPUT_RATE_HZ, PcmSamples

FADE_SAMPLES = OUTPUT_RATE_HZ * 5 // 1000
"""Speech starts and ends in 5 ms and not at once: an edge is a click."""
CEILING = 0.97

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class _Clip(Generic[T]):
    start: int
    samples: Samples
    what: T

    @property
    def end(self) -> int:
        return self.start + len(self.samples)


@dataclass(frozen=True, slots=True)
class Started(Generic[T]):
    """Something that starts to sound in this frame."""

    what: T
    start: int
    length: int


class Track(Generic[T]):
    """One phrase after the other, silence between them. What was laid is never taken back."""

    def __init__(self, position: int = 0) -> None:
        self.position = position
        """Of the next frame."""
        self._clips: deque[_Clip[T]] = deque()
        self._end = position

    @property
    def ahead(self) -> int:
        """Until what was laid has sounded, in samples."""
        return max(self._end - self.position, 0)

    @property
    def sounding(self) -> bool:
        """Whether something sounds in the next frame."""
        return bool(self._clips) and self._clips[0].start < self.position + FRAME_SAMPLES

    def lay(self, samples: Samples, what: T, pause: int = 0) -> int:
        """Put speech behind what is there, at least `pause` samples after it; where it starts.

        samples: mono, shape (n,), 48 kHz.
        """
        start = max(self._end + pause if self._clips else self._end, self.position)
        self._clips.append(_Clip(start, faded(samples), what))
        self._end = start + len(samples)
        return start

    def next_frame(self) -> tuple[Samples, list[Started[T]]]:
        """The next 20 ms, and what starts in them."""
        begin, end = self.position, self.position + FRAME_SAMPLES
        frame = np.zeros(FRAME_SAMPLES, np.float32)
        started = []
        for clip in self._clips:
            if clip.start >= end:
                break
            first, last = max(clip.start, begin), min(clip.end, end)
            frame[first - begin : last - begin] += clip.samples[first - clip.start : last - clip.start]
            if clip.start >= begin:
                started.append(Started(clip.what, clip.start, len(clip.samples)))
        self.position = end
        while self._clips and self._clips[0].end <= end:
            self._clips.popleft()
        return frame, started


def faded(samples: Samples) -> Samples:
    """The same with soft edges."""
    length = min(FADE_SAMPLES, len(samples) // 2)
    if not length:
        return samples
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)).astype(np.float32)
    soft = samples.astype(np.float32, copy=True)
    soft[:length] *= ramp
    soft[-length:] *= ramp[::-1]
    return soft


def to_pcm(samples: Samples) -> PcmSamples:
    """Float to 16 bit; peaks are held below the ceiling."""
    return np.round(np.clip(samples, -CEILING, CEILING) * 32767).astype(np.int16)
