"""The Silero detector on real sound."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from octavia_stream.audio.chunk import ASR_RATE_HZ, Samples
from octavia_stream.vad.detector import VAD_FRAME_SAMPLES, Probabilities
from octavia_stream.vad.endpointer import Endpointer
from octavia_stream.vad.silero import SileroDetector
from octavia_stream.vad.utterance import Utterance

pytestmark = pytest.mark.model

Recording = Callable[[str], Samples]
RTTM = Path(__file__).parents[1] / "data/speech/en/lj_printing_4min.rttm"


def heard(detector: SileroDetector, samples: Samples, block: int) -> Probabilities:
    parts = [detector.push(samples[start : start + block]) for start in range(0, len(samples), block)]
    return np.concatenate([*parts, detector.finish()])


def utterances(probabilities: Probabilities) -> list[Utterance]:
    endpointer = Endpointer()
    found = endpointer.push(probabilities)
    last = endpointer.finish()
    return [*found, last] if last else found


@pytest.mark.parametrize("block", [160, 512, 700, 16_000])
def test_the_size_of_the_blocks_does_not_change_what_is_heard(
    silero: SileroDetector, recording: Recording, block: int
) -> None:
    samples = recording("speech/en/jfk.flac")

    whole = heard(silero, samples, len(samples))
    streamed = heard(silero, samples, block)

    assert len(whole) == -(-len(samples) // VAD_FRAME_SAMPLES)
    np.testing.assert_allclose(streamed, whole, atol=1e-5)


def test_a_finished_detector_starts_anew(silero: SileroDetector, recording: Recording) -> None:
    samples = recording("speech/en/jfk.flac")[: 3 * ASR_RATE_HZ]

    first = heard(silero, samples, 4096)

    np.testing.assert_allclose(heard(silero, samples, 4096), first, atol=1e-6)


def test_noise_and_silence_are_not_speech(silero: SileroDetector, recording: Recording) -> None:
    assert utterances(heard(silero, recording("nonspeech/leopard_noise.wav"), 16_000)) == []
    assert utterances(heard(silero, np.zeros(5 * ASR_RATE_HZ, np.float32), 16_000)) == []


@pytest.mark.parametrize("name", ["fleurs-en-002", "fleurs-en-003", "fleurs-en-004"])
def test_speech_that_peaks_below_45_dbfs_is_heard_as_well_as_loud_speech(
    silero: SileroDetector, recording: Recording, name: str
) -> None:
    quiet = recording(f"speech/en/{name}.ogg")
    assert np.abs(quiet).max() < 10 ** (-45 / 20)
    loud = (quiet * (0.5 / np.abs(quiet).max())).astype(np.float32)

    of_quiet = sum(utterance.length for utterance in utterances(heard(silero, quiet, 16_000)))
    of_loud = sum(utterance.length for utterance in utterances(heard(silero, loud, 16_000)))

    assert of_quiet > 0.8 * len(quiet)
    assert of_quiet == pytest.approx(of_loud, rel=0.05)


def test_every_clip_of_a_four_minute_reading_is_found_and_the_gaps_are_not(
    silero: SileroDetector, recording: Recording
) -> None:
    """The clips are joined with 0.4 s of silence, so their bounds are known to the sample."""
    rows = [line.split() for line in RTTM.read_text().splitlines()]
    clips = [(float(row[3]), float(row[3]) + float(row[4])) for row in rows]

    found = utterances(heard(silero, recording("speech/en/lj_printing_4min.flac"), 16_000))

    spans = [(utterance.start / ASR_RATE_HZ, utterance.end / ASR_RATE_HZ) for utterance in found]
    for start, end in clips:
        spoken = sum(max(0.0, min(end, last) - max(start, first)) for first, last in spans)
        assert spoken > 0.8 * (end - start)
    for (_, before), (after, _) in itertools.pairwise(clips):
        middle = (before + after) / 2
        assert not any(first < middle < last for first, last in spans)
