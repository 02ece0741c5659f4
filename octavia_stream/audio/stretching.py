"""Longer or shorter at the same pitch. Wraps python-stretch (Signalsmith Stretch, MIT)."""

import numpy as np
from python_stretch import Signalsmith

from octavia_stream.audio.chunk import AudioChunk, Samples

_SHORTEST_S = 0.1
"""Less than about one analysis block is resampled by position instead: no pitch is heard in it."""


def stretch(chunk: AudioChunk, ratio: float) -> AudioChunk:
    """The same speech in `ratio` times its length, to the sample; its offset is kept.

    ratio: new length over old length; below 1 is faster. Quality is good within 0.8 to 1.3.
    """
    if ratio <= 0:
        raise ValueError("a stretch ratio is positive")
    length = round(chunk.length * ratio)
    if length == chunk.length:
        return chunk
    if chunk.duration_s < _SHORTEST_S:
        return AudioChunk(_interpolated(chunk.samples, length), chunk.rate_hz, chunk.offset)
    channels: Samples = chunk.samples[np.newaxis] if chunk.samples.ndim == 1 else chunk.samples.T
    processor = Signalsmith.Stretch()
    processor.preset(channels.shape[0], float(chunk.rate_hz))
    processor.setTimeFactor(chunk.length / length)
    stretched = np.asarray(processor.process(np.ascontiguousarray(channels, dtype=np.float32)), dtype=np.float32)
    fitted = _fitted(stretched, length)
    samples = fitted[0] if chunk.samples.ndim == 1 else np.ascontiguousarray(fitted.T)
    return AudioChunk(samples, chunk.rate_hz, chunk.offset)


def _fitted(channels: Samples, length: int) -> Samples:
    """Shape (channels, length): the library's own length may be a sample off."""
    missing = length - channels.shape[1]
    if missing <= 0:
        return channels[:, :length]
    return np.pad(channels, ((0, 0), (0, missing)))


def _interpolated(samples: Samples, length: int) -> Samples:
    """Shape (length,) or (length, channels); linear."""
    if len(samples) == 0 or length == 0:
        return np.zeros((length, *samples.shape[1:]), np.float32)
    positions = np.linspace(0, len(samples) - 1, length)
    columns = samples.reshape(len(samples), -1).T
    stretched = np.stack([np.interp(positions, np.arange(len(samples)), column) for column in columns], axis=1)
    return stretched.reshape(length, *samples.shape[1:]).astype(np.float32)
