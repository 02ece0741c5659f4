"""OriginalSound: what comes in, made ready to be heard under what goes out."""

from collections import deque

import numpy as np

from octavia_stream.audio.chunk import ASR_RATE_HZ, Samples
from octavia_stream.audio.resampling import Resampler
from octavia_stream.live.frame import FRAME_SAMPLES, OUTPUT_RATE_HZ

READY_SAMPLES = OUTPUT_RATE_HZ // 10
"""Sound that must wait before it starts, so that uneven arrival makes no holes: 100 ms."""
MOST_SAMPLES = OUTPUT_RATE_HZ // 2


class _Stream:
    """One speaker's sound at 48 kHz."""

    def __init__(self) -> None:
        self._resampler = Resampler(ASR_RATE_HZ, OUTPUT_RATE_HZ)
        self._parts: deque[Samples] = deque()
        self._length = 0
        self._flowing = False

    def push(self, samples: Samples) -> None:
        ready = self._resampler.push(samples)
        self._parts.append(ready)
        self._length += len(ready)
        while self._length > MOST_SAMPLES:
            self._length -= len(self._parts.popleft())

    def next_frame(self) -> Samples | None:
        if self._length < (FRAME_SAMPLES if self._flowing else READY_SAMPLES):
            self._flowing = False
            return None
        self._flowing = True
        parts, missing = [], FRAME_SAMPLES
        while missing:
            part = self._parts.popleft()
            if len(part) > missing:
                self._parts.appendleft(part[missing:])
                part = part[:missing]
            parts.append(part)
            missing -= len(part)
        self._length -= FRAME_SAMPLES
        return np.concatenate(parts)


class OriginalSound:
    """All speakers together, at the room's pace."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}

    def push(self, speaker: str, samples: Samples) -> None:
        """Mono, 16 kHz."""
        self._streams.setdefault(speaker, _Stream()).push(samples)

    def next_frame(self) -> Samples | None:
        """Shape (960,), 48 kHz; None when nothing sounds."""
        frames = [frame for stream in self._streams.values() if (frame := stream.next_frame()) is not None]
        return np.sum(frames, axis=0, dtype=np.float32) if frames else None
