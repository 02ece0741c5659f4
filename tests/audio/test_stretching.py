"""Another length, the same pitch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.audio.chunk import AudioChunk, Samples
from octavia_stream.audio.stretching import stretch


def tone(rate_hz: int, seconds: float, frequency_hz: float = 220.0) -> Samples:
    time = np.arange(round(rate_hz * seconds)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


@given(st.integers(0, 30_000), st.floats(0.5, 2.0), st.sampled_from([1, 2]))
def test_the_length_is_exact(length: int, ratio: float, channels: int) -> None:
    samples = np.zeros(length if channels == 1 else (length, channels), np.float32)
    stretched = stretch(AudioChunk(samples, 24_000, 77), ratio)
    assert stretched.length == round(length * ratio)
    assert stretched.samples.ndim == samples.ndim
    assert stretched.offset == 77
    assert stretched.samples.dtype == np.float32


@pytest.mark.parametrize("ratio", [0.85, 0.95, 1.1, 1.25])
def test_the_pitch_stays(ratio: float) -> None:
    stretched = stretch(AudioChunk(tone(24_000, 2.0), 24_000), ratio).samples
    spectrum = np.abs(np.fft.rfft(stretched * np.hanning(len(stretched))))
    assert float(np.argmax(spectrum)) * 24_000 / len(stretched) == pytest.approx(220, abs=3)


@pytest.mark.parametrize("ratio", [0.85, 1.25])
def test_what_was_in_the_middle_stays_in_the_middle(ratio: float) -> None:
    samples = np.zeros(48_000, np.float32)
    samples[22_800:25_200] = tone(24_000, 0.1)
    stretched = stretch(AudioChunk(samples, 24_000), ratio).samples
    energy = np.square(stretched, dtype=np.float64)
    centre = float((energy * np.arange(len(energy))).sum() / energy.sum())
    assert centre / 24_000 == pytest.approx(ratio, abs=0.02)


def test_no_change_is_the_same_chunk() -> None:
    chunk = AudioChunk(tone(24_000, 0.5), 24_000)
    assert stretch(chunk, 1.0) is chunk


def test_a_ratio_is_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        stretch(AudioChunk(tone(24_000, 0.5), 24_000), 0.0)
