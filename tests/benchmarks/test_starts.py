"""Where speech really starts in a dub."""

import numpy as np
import pytest

from benchmarks.quality import start_error_s
from octavia_stream.audio.chunk import ASR_RATE_HZ, Samples


def noise(seconds: float, seed: int, level: float = 0.2) -> Samples:
    samples = np.random.default_rng(seed).normal(0, level, round(seconds * ASR_RATE_HZ))
    return samples.astype(np.float32)


def dub_with(speech: Samples, at_s: float, length_s: float = 10.0) -> Samples:
    """Speech over a much softer original."""
    track = noise(length_s, seed=9, level=0.01)
    start = round(at_s * ASR_RATE_HZ)
    track[start : start + len(speech)] += speech
    return track


@pytest.mark.parametrize("late_s", [-0.2, -0.01, 0.0, 0.04, 0.2])
def test_a_shift_is_found_to_the_sample(late_s: float) -> None:
    speech = noise(3.0, seed=1)
    assert start_error_s(speech, 4.0, dub_with(speech, 4.0 + late_s)) == pytest.approx(late_s, abs=1 / ASR_RATE_HZ)


@pytest.mark.parametrize("at_s", [0.0, 9.0])
def test_the_ends_of_the_track_are_no_obstacle(at_s: float) -> None:
    speech = noise(1.0, seed=1)
    assert start_error_s(speech, at_s, dub_with(speech, at_s)) == pytest.approx(0.0, abs=1 / ASR_RATE_HZ)


def test_speech_that_is_not_there_is_not_found() -> None:
    assert start_error_s(noise(2.0, seed=1), 4.0, dub_with(noise(2.0, seed=2), 4.0)) is None
    assert start_error_s(np.zeros(16_000, np.float32), 4.0, dub_with(noise(2.0, seed=2), 4.0)) is None
