"""Silence at the ends of a clip."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from octavia_stream.audio.chunk import Samples
from octavia_stream.tts.trimming import bounded, joined, trim_silence

RATE_HZ = 24_000


def tone(seconds: float, peak: float = 0.5) -> Samples:
    at = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (peak * np.sin(2 * np.pi * 220 * at)).astype(np.float32)


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * RATE_HZ), np.float32)


def test_at_most_fifty_milliseconds_of_silence_stay_on_each_side() -> None:
    trimmed = trim_silence(np.concatenate([silence(0.4), tone(1.0), silence(0.7)]), RATE_HZ)
    assert RATE_HZ * 1.0 <= trimmed.shape[0] <= RATE_HZ * 1.1
    loud = np.flatnonzero(np.abs(trimmed) > 0.01)
    assert loud[0] <= 0.05 * RATE_HZ
    assert trimmed.shape[0] - loud[-1] <= 0.05 * RATE_HZ


def test_faint_noise_around_speech_counts_as_silence() -> None:
    noise = (np.random.default_rng(1).standard_normal(3 * RATE_HZ) * 0.001).astype(np.float32)
    noise[RATE_HZ : 2 * RATE_HZ] += tone(1.0)
    assert trim_silence(noise, RATE_HZ).shape[0] <= 1.1 * RATE_HZ


def test_a_quiet_clip_keeps_its_speech() -> None:
    clip = np.concatenate([silence(0.4), tone(1.0, peak=0.01), silence(0.4)])
    assert trim_silence(clip, RATE_HZ).shape[0] >= RATE_HZ


def test_a_pause_inside_stays() -> None:
    clip = np.concatenate([tone(0.3), silence(1.0), tone(0.3)])
    assert trim_silence(clip, RATE_HZ).shape[0] == clip.shape[0]


def test_silence_becomes_empty() -> None:
    assert trim_silence(silence(1.0), RATE_HZ).shape == (0,)
    assert trim_silence(silence(0.0), RATE_HZ).shape == (0,)


def test_parts_are_joined_with_their_pauses_and_silent_ones_left_out() -> None:
    parts = [(silence(0.2), 9.0), (tone(0.5), 0.25), (silence(1.0), 9.0), (tone(0.5), 9.0)]
    assert joined(parts, RATE_HZ).shape[0] == 1.25 * RATE_HZ
    assert joined([], RATE_HZ).shape == (0,)


@given(arrays(np.float32, st.integers(0, 2000), elements=st.floats(width=32)))
def test_whatever_comes_out_of_an_engine_becomes_finite_and_bounded(samples: Samples) -> None:
    clean = bounded(samples)
    assert clean.dtype == np.float32
    assert np.isfinite(clean).all()
    assert np.abs(clean).max(initial=0.0) <= 1.0
    trimmed = trim_silence(clean, RATE_HZ)
    assert trimmed.shape[0] <= clean.shape[0]
