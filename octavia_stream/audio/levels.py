"""How loud: RMS and peak in dBFS, loudness in LUFS, gain, and a limiter. Wraps pyloudnorm (MIT)."""

import math
import warnings
from functools import lru_cache

import numpy as np
from pyloudnorm import Meter

from octavia_stream.audio.chunk import AudioChunk, Samples

SILENCE_DB = -120.0
"""What digital silence is called, so that levels stay finite."""
GATE_BLOCK_S = 0.4
"""The shortest sound that ITU-R BS.1770-4 can measure."""


def rms_dbfs(samples: Samples) -> float:
    """Root mean square over all channels; a full-scale square wave is 0 dBFS."""
    if not samples.size:
        return SILENCE_DB
    return decibels(math.sqrt(float(np.mean(np.square(samples, dtype=np.float64)))))


def peak_dbfs(samples: Samples) -> float:
    """Largest sample of any channel."""
    return decibels(float(np.max(np.abs(samples)))) if samples.size else SILENCE_DB


def decibels(amplitude: float) -> float:
    """Amplitude → dB, not below SILENCE_DB."""
    return max(SILENCE_DB, 20 * math.log10(amplitude)) if amplitude > 0 else SILENCE_DB


def amplitude(decibel: float) -> float:
    """dB → amplitude."""
    return float(10 ** (decibel / 20))


def gained(chunk: AudioChunk, gain_db: float) -> AudioChunk:
    """The same sound, louder or softer; may leave [-1, 1]."""
    samples: Samples = (chunk.samples * np.float32(amplitude(gain_db))).astype(np.float32, copy=False)
    return AudioChunk(samples, chunk.rate_hz, chunk.offset)


def integrated_loudness(chunk: AudioChunk) -> float:
    """Gated loudness in LUFS by EBU R 128 (ITU-R BS.1770-4); SILENCE_DB for silence.

    A chunk shorter than the gating block is measured with itself repeated, which keeps its level.
    """
    samples = chunk.samples
    if not samples.size or float(np.max(np.abs(samples))) == 0:
        return SILENCE_DB
    shortest = math.ceil(GATE_BLOCK_S * chunk.rate_hz) + 1
    if chunk.length < shortest:
        repeats = -(-shortest // chunk.length)
        samples = np.tile(samples, repeats if samples.ndim == 1 else (repeats, 1))
    with warnings.catch_warnings():
        # Sound below the gate makes pyloudnorm take the mean of nothing.
        warnings.simplefilter("ignore", RuntimeWarning)
        loudness = float(_meter(chunk.rate_hz).integrated_loudness(samples.astype(np.float64)))
    return max(SILENCE_DB, loudness) if math.isfinite(loudness) else SILENCE_DB


@lru_cache(maxsize=8)
def _meter(rate_hz: int) -> Meter:
    return Meter(rate_hz)


class Limiter:
    """Keeps a stream of blocks below a ceiling without distorting what is below it.

    The gain falls at once (with the blocks' own look-ahead: a block is scaled smoothly before its peak) and recovers
    slowly. Adds no delay, so positions stay as they are. State is kept between blocks.
    """

    def __init__(self, rate_hz: int, ceiling_db: float = -1.0, attack_s: float = 0.005, release_s: float = 0.2) -> None:
        self._ceiling = np.float32(amplitude(ceiling_db))
        self._attack = max(1, round(attack_s * rate_hz))
        self._release_per_sample = 1.0 / max(1, round(release_s * rate_hz))
        self._gain = 1.0

    def limit(self, samples: Samples) -> Samples:
        """A block, shape (n,) or (n, channels), of any size; returns one of the same shape within the ceiling."""
        if not samples.size:
            return samples
        peaks = np.abs(samples) if samples.ndim == 1 else np.max(np.abs(samples), axis=1)
        if self._gain == 1.0 and float(peaks.max()) <= self._ceiling:
            return samples
        gain = self._smoothed(np.minimum(1.0, self._ceiling / np.maximum(peaks, self._ceiling)))
        self._gain = float(gain[-1])
        shaped = samples * (gain if samples.ndim == 1 else gain[:, np.newaxis]).astype(np.float32)
        # Float rounding may leave a sample a bit above.
        limited: Samples = np.clip(shaped, -self._ceiling, self._ceiling).astype(np.float32, copy=False)
        return limited

    def _smoothed(
        self, wanted: np.ndarray[tuple[int], np.dtype[np.float64]]
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """A gain that never exceeds what is wanted, ramps down before peaks and rises at the release's pace.

        A slope limit is a running minimum of wanted + slope × distance, forward for release, backward for attack.
        """
        steps = np.arange(len(wanted), dtype=np.float64)
        rise = self._release_per_sample
        start = np.concatenate([[self._gain], wanted])
        risen = np.minimum.accumulate(start - rise * np.arange(len(start)))[1:] + rise * (steps + 1)
        fall = 1.0 / self._attack
        mirrored = np.minimum.accumulate((risen + 0.0)[::-1] - fall * steps)[::-1] + fall * steps[::-1]
        return np.minimum(risen, mirrored)
