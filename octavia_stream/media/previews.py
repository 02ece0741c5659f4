"""What a page shows of a file before anybody plays it, made in the jail: a still picture, the shape of its sound."""

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from octavia_stream.config import MediaSettings
from octavia_stream.errors import MediaRejected
from octavia_stream.media import wire
from octavia_stream.media.demuxer import Demuxer
from octavia_stream.media.info import AudioTrack
from octavia_stream.media.jail import Jail

THUMBNAIL_WIDTH = 640
THUMBNAIL_CPU_S = 60
PEAKS_RATE_HZ = 8000
FINEST = 80
"""Samples to a peak in a short file: 10 ms."""
MOST_PEAKS = 4096
"""Beyond it two become one: the size of the answer does not grow with the file."""
_LARGEST_JPEG_BYTES = 4 * 1024**2


class Peaks(msgspec.Struct, frozen=True):
    """The shape of sound, in the format of audiowaveform and peaks.js (version 2, 8 bits)."""

    version: int
    channels: int
    sample_rate: int
    samples_per_pixel: int
    bits: int
    length: int
    """How many pairs there are."""
    data: list[int]
    """Pairs: the lowest and the highest sample, −128 to 127."""


async def thumbnail(path: Path, at_s: float, settings: MediaSettings) -> bytes:
    """A JPEG of a video, of a key frame at `at_s`. Raises MediaRejected, MediaTooLarge, EngineUnavailable."""
    request = wire.PictureRequest(at_s=at_s, width=THUMBNAIL_WIDTH)
    content = b""
    async with Jail(request, settings, source=path, cpu_s=THUMBNAIL_CPU_S) as jail:
        while True:
            kind, payload = await jail.frame()
            if kind is wire.FrameKind.RESULT:
                return content
            content += payload
            if kind is not wire.FrameKind.BYTES or len(content) > _LARGEST_JPEG_BYTES:
                raise MediaRejected("The file made its decoder answer nonsense.")


async def peaks(path: Path, track: AudioTrack, settings: MediaSettings) -> Peaks:
    """The shape of one sound track, all channels mixed. Raises MediaRejected, MediaTooLarge, EngineUnavailable."""
    shape = _Shape()
    async with Demuxer(path, track, rate_hz=PEAKS_RATE_HZ, channels=1, settings=settings) as sound:
        async for chunk in sound:
            shape.add(chunk.samples)
    return shape.finish()


class _Shape:
    """Lowest and highest sample of equal stretches."""

    def __init__(self) -> None:
        self._pairs: list[NDArray[np.float32]] = []
        self._rest = np.zeros(0, np.float32)

    def add(self, samples: NDArray[np.float32]) -> None:
        """samples: shape (n,)."""
        waiting = np.concatenate((self._rest, samples))
        whole = len(waiting) // FINEST * FINEST
        self._pairs.append(_extremes(waiting[:whole].reshape(-1, FINEST)))
        self._rest = waiting[whole:]

    def finish(self) -> Peaks:
        last = _extremes(self._rest.reshape(1, -1)) if len(self._rest) else np.zeros((0, 2), np.float32)
        pairs, stretch = np.concatenate((*self._pairs, last)), FINEST
        while len(pairs) > MOST_PEAKS:
            # Of an odd number the last stands for itself.
            even = np.concatenate((pairs, pairs[-1:])) if len(pairs) % 2 else pairs
            pairs, stretch = _extremes(even.reshape(-1, 4)), stretch * 2
        data = np.clip(np.round(pairs * 127.0), -128, 127).astype(np.int8).ravel()
        return Peaks(2, 1, PEAKS_RATE_HZ, stretch, 8, len(pairs), data.tolist())


def _extremes(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lowest and highest of each row, shape (rows, 2)."""
    return np.stack((rows.min(axis=1, initial=1.0), rows.max(axis=1, initial=-1.0)), axis=1)
