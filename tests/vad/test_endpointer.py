"""Probabilities become utterances."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.vad.detector import VAD_FRAME_SAMPLES, Probabilities
from octavia_stream.vad.endpointer import Endpointer, EndpointerOptions
from octavia_stream.vad.utterance import Utterance

PAD = 96 * 16
PLAIN = EndpointerOptions(pad_ms=0)


def frames(*runs: tuple[float, int]) -> Probabilities:
    """Runs of (probability, number of frames)."""
    return np.concatenate([np.full(count, value, np.float32) for value, count in runs])


def run(probabilities: Probabilities, options: EndpointerOptions | None = None) -> list[Utterance]:
    endpointer = Endpointer(options)
    found = endpointer.push(probabilities)
    last = endpointer.finish()
    return [*found, last] if last else found


def test_silence_has_no_utterances() -> None:
    assert run(frames((0.0, 500))) == []


def test_an_utterance_is_padded_on_both_sides() -> None:
    assert run(frames((0.0, 20), (0.9, 30), (0.0, 20))) == [
        Utterance(20 * VAD_FRAME_SAMPLES - PAD, 50 * VAD_FRAME_SAMPLES + PAD)
    ]


def test_padding_stays_within_the_recording() -> None:
    assert run(frames((0.9, 30))) == [Utterance(0, 30 * VAD_FRAME_SAMPLES)]


def test_a_click_is_no_utterance() -> None:
    assert run(frames((0.0, 20), (0.9, 7), (0.0, 20))) == []


def test_a_short_silence_belongs_to_the_utterance_and_a_longer_one_ends_it() -> None:
    together = run(frames((0.9, 20), (0.0, 6), (0.9, 20)), PLAIN)
    apart = run(frames((0.9, 20), (0.0, 7), (0.9, 20)), PLAIN)

    assert together == [Utterance(0, 46 * VAD_FRAME_SAMPLES)]
    assert apart == [
        Utterance(0, 20 * VAD_FRAME_SAMPLES),
        Utterance(27 * VAD_FRAME_SAMPLES, 47 * VAD_FRAME_SAMPLES),
    ]


def test_between_the_thresholds_what_was_goes_on() -> None:
    assert run(frames((0.4, 50))) == []
    assert run(frames((0.9, 10), (0.4, 40)), PLAIN) == [Utterance(0, 50 * VAD_FRAME_SAMPLES)]
    assert run(frames((0.9, 10), (0.0, 1), (0.4, 40)), PLAIN) == [Utterance(0, 10 * VAD_FRAME_SAMPLES)]


def test_the_open_utterance_can_be_split() -> None:
    endpointer = Endpointer(PLAIN)
    endpointer.push(frames((0.9, 100)))

    first = endpointer.cut(50 * VAD_FRAME_SAMPLES)

    assert first == Utterance(0, 50 * VAD_FRAME_SAMPLES)
    assert endpointer.finish() == Utterance(50 * VAD_FRAME_SAMPLES, 100 * VAD_FRAME_SAMPLES)


def test_there_is_nothing_to_split_in_silence() -> None:
    endpointer = Endpointer()
    endpointer.push(frames((0.0, 10)))
    with pytest.raises(ValueError, match="no open utterance"):
        endpointer.cut(512)


def test_padding_that_could_make_utterances_overlap_is_refused() -> None:
    with pytest.raises(ValueError, match="padding"):
        EndpointerOptions(min_silence_ms=100, pad_ms=60)


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.integers(1, 60)), min_size=1, max_size=40), st.data())
def test_utterances_are_ordered_disjoint_and_the_same_for_blocks_of_any_size(
    runs: list[tuple[float, int]], data: st.DataObject
) -> None:
    probabilities = frames(*runs)
    whole = run(probabilities)

    endpointer = Endpointer()
    found: list[Utterance] = []
    at = 0
    while at < len(probabilities):
        size = data.draw(st.integers(1, 200))
        found += endpointer.push(probabilities[at : at + size])
        at += size
    last = endpointer.finish()

    assert found + ([last] if last else []) == whole
    assert all(before.end <= after.start for before, after in itertools.pairwise(whole))
    assert all(0 <= one.start < one.end <= len(probabilities) * VAD_FRAME_SAMPLES for one in whole)
