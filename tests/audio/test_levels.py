"""Levels by the standards, and a limiter that only touches what is too loud."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.audio.chunk import AudioChunk, Samples
from octavia_stream.audio.levels import (
    SILENCE_DB,
    Limiter,
    amplitude,
    decibels,
    gained,
    integrated_loudness,
    peak_dbfs,
    rms_dbfs,
)


def sine(level_db: float, seconds: float = 3.0, frequency_hz: float = 997.0, rate_hz: int = 48_000) -> Samples:
    time = np.arange(round(rate_hz * seconds)) / rate_hz
    return (amplitude(level_db) * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def test_a_sine_has_its_peak_and_three_decibels_less_of_power() -> None:
    assert peak_dbfs(sine(-6.0)) == pytest.approx(-6.0, abs=0.01)
    assert rms_dbfs(sine(-6.0)) == pytest.approx(-9.01, abs=0.01)


def test_nothing_is_silence() -> None:
    empty, silent = np.zeros(0, np.float32), np.zeros(48_000, np.float32)
    for samples in (empty, silent):
        assert rms_dbfs(samples) == peak_dbfs(samples) == SILENCE_DB
        assert integrated_loudness(AudioChunk(samples, 48_000)) == SILENCE_DB
    assert decibels(0.0) == SILENCE_DB


def test_a_stereo_sine_at_minus_23_dbfs_is_minus_23_lufs() -> None:
    """EBU Tech 3341, test 1: 1 kHz in phase in both channels."""
    stereo = np.stack([sine(-23.0, 20, 1000.0)] * 2, axis=1)
    assert integrated_loudness(AudioChunk(stereo, 48_000)) == pytest.approx(-23.0, abs=0.1)


def test_pauses_do_not_count() -> None:
    """The gate of BS.1770-4: speech with silence around it is as loud as the speech."""
    speech = sine(-20.0, 5)
    with_pauses = np.concatenate([np.zeros(240_000, np.float32), speech, np.zeros(240_000, np.float32)])
    alone = integrated_loudness(AudioChunk(speech, 48_000))
    assert integrated_loudness(AudioChunk(with_pauses, 48_000)) == pytest.approx(alone, abs=0.4)


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.39, 0.41])
def test_a_short_clip_is_as_loud_as_a_long_one(seconds: float) -> None:
    long = integrated_loudness(AudioChunk(sine(-20.0), 48_000))
    assert integrated_loudness(AudioChunk(sine(-20.0, seconds), 48_000)) == pytest.approx(long, abs=0.5)


def test_gain_moves_the_level_by_itself() -> None:
    chunk = gained(AudioChunk(sine(-30.0), 48_000, 5), 12.0)
    assert rms_dbfs(chunk.samples) == pytest.approx(-21.01, abs=0.01)
    assert chunk.offset == 5


@given(st.lists(st.integers(1, 9_000), min_size=1, max_size=8), st.floats(0.1, 8.0), st.integers(0, 2**31))
def test_no_sample_passes_the_ceiling(sizes: list[int], loudness: float, seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal((sum(sizes), 2)).astype(np.float32) * np.float32(loudness)
    limiter = Limiter(48_000, ceiling_db=-1.0)
    blocks = [limiter.limit(part) for part in np.split(noise, np.cumsum(sizes)[:-1])]
    limited = np.concatenate(blocks)
    assert limited.shape == noise.shape
    assert limited.dtype == np.float32
    assert float(np.abs(limited).max()) <= amplitude(-1.0) + 1e-6


def test_what_is_below_the_ceiling_is_not_touched() -> None:
    quiet = sine(-6.0)
    assert Limiter(48_000).limit(quiet) is quiet


def test_a_peak_lowers_its_neighbourhood_smoothly_and_the_rest_recovers() -> None:
    samples = sine(-10.0, 2.0)
    samples[48_000] = 4.0
    limited = Limiter(48_000, attack_s=0.005, release_s=0.1).limit(samples)
    assert np.array_equal(limited[: 48_000 - 480], samples[: 48_000 - 480])
    assert np.allclose(limited[48_000 + 9_600 :], samples[48_000 + 9_600 :], atol=1e-4)
    audible = np.abs(samples) > 0.05
    gain = np.where(audible, limited / np.where(audible, samples, 1), np.nan)
    steps = np.abs(np.diff(gain[~np.isnan(gain)]))
    assert float(steps.max()) < 0.05


def test_a_tone_above_the_ceiling_keeps_its_shape() -> None:
    """Clipping would make harmonics; a steady gain does not."""
    limiter = Limiter(48_000, ceiling_db=-6.0)
    blocks = [limiter.limit(part) for part in np.array_split(sine(0.0, 2.0, 1000.0), 20)]
    steady = np.concatenate(blocks)[48_000:]
    spectrum = np.abs(np.fft.rfft(steady * np.hanning(len(steady))))
    third_harmonic = spectrum[2_990:3_010].max() / spectrum[990:1_010].max()
    assert 20 * math.log10(third_harmonic) < -40
