"""Loudness is that of ITU-R BS.1770, whoever cuts the sound into pieces."""

import numpy as np
import pyloudnorm
import pytest

from octavia_stream.dubbing.loudness import SILENCE_LUFS, LoudnessContour, speech_loudness

RATE = 16_000


def noise(seconds: float, level: float, seed: int = 1) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE)).astype(np.float32)


def test_it_agrees_with_a_reference_meter() -> None:
    sound = noise(10, 0.05)
    reference = pyloudnorm.Meter(RATE).integrated_loudness(sound.astype(np.float64))
    assert speech_loudness(sound, RATE) == pytest.approx(reference, abs=0.3)


def test_pauses_do_not_make_speech_quieter() -> None:
    speech = noise(2, 0.05)
    with_pauses = np.concatenate([speech, np.zeros(4 * RATE, np.float32), speech])
    assert speech_loudness(with_pauses, RATE) == pytest.approx(speech_loudness(speech, RATE), abs=0.3)


def test_a_part_of_the_contour_is_as_loud_as_that_part_alone() -> None:
    contour = LoudnessContour(RATE)
    sound = np.concatenate([noise(3, 0.01), noise(3, 0.1, 2)])
    for start in range(0, len(sound), 777):
        contour.push(sound[start : start + 777])
    assert contour.loudness(0, 3 * RATE) == pytest.approx(speech_loudness(noise(3, 0.01), RATE), abs=0.2)
    assert contour.loudness(3 * RATE, 6 * RATE) == pytest.approx(speech_loudness(noise(3, 0.1, 2), RATE), abs=0.2)


def test_silence_and_nothing_are_silence() -> None:
    assert LoudnessContour(RATE).loudness(0, RATE) == SILENCE_LUFS
    assert speech_loudness(np.zeros(RATE, np.float32), RATE) == SILENCE_LUFS
    assert speech_loudness(np.zeros(0, np.float32), RATE) == SILENCE_LUFS
