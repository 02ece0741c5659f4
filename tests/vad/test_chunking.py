"""Utterances become chunks for ASR."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.vad.chunking import ChunkPlanner, ChunkSpan
from octavia_stream.vad.detector import VAD_FRAME_SAMPLES, Probabilities
from octavia_stream.vad.endpointer import Endpointer
from octavia_stream.vad.utterance import Utterance

FRAMES_PER_S = ASR_RATE_HZ / VAD_FRAME_SAMPLES
MAX = 28 * ASR_RATE_HZ


def talk(*runs: tuple[float, float]) -> Probabilities:
    """Runs of (probability, seconds)."""
    return np.concatenate([np.full(round(seconds * FRAMES_PER_S), value, np.float32) for value, seconds in runs])


def plan(probabilities: Probabilities, planner: ChunkPlanner | None = None) -> list[ChunkSpan]:
    planner = planner or ChunkPlanner()
    return [*planner.push(probabilities), *planner.finish()]


def seconds(chunk: ChunkSpan) -> tuple[float, float]:
    return round(chunk.start / ASR_RATE_HZ, 1), round(chunk.end / ASR_RATE_HZ, 1)


def test_silence_makes_no_chunks() -> None:
    assert plan(talk((0.0, 300.0))) == []


def test_short_talk_is_one_chunk_of_several_utterances() -> None:
    (chunk,) = plan(talk((0.0, 2.0), (0.9, 5.0), (0.0, 1.0), (0.9, 5.0), (0.0, 3.0)))

    assert seconds(chunk) == (1.9, 13.1)
    assert len(chunk.utterances) == 2


def test_the_cut_falls_into_the_longest_pause_that_is_late_enough() -> None:
    speech = talk((0.9, 10), (0.0, 2.0), (0.9, 11), (0.0, 0.5), (0.9, 3), (0.0, 0.3), (0.9, 10))

    first, second = plan(speech)

    assert seconds(first) == (0.0, 23.1), "not the 2 s pause at 10 s, which would leave the chunk half empty"
    assert seconds(second)[0] == 23.4


def test_an_early_pause_is_taken_when_there_is_no_other() -> None:
    first, second = plan(talk((0.9, 10), (0.0, 0.5), (0.9, 25)))

    assert seconds(first) == (0.0, 10.1)
    assert seconds(second) == (10.4, 35.5)


def test_a_long_pause_ends_a_chunk_so_that_it_is_not_transcribed() -> None:
    planner = ChunkPlanner()

    (first,) = planner.push(talk((0.9, 5), (0.0, 10)))

    assert seconds(first) == (0.0, 5.1)
    assert plan(talk((0.9, 5)), planner)[0].index == 1


def test_speech_without_a_pause_is_cut_where_it_is_least_likely() -> None:
    breath = talk((0.9, 23), (0.6, 0.064), (0.9, 20))

    first, second = plan(breath)

    assert 23.0 < first.end / ASR_RATE_HZ < 23.1
    assert second.start == first.end, "nothing is lost at a forced cut"


def test_chunks_of_endless_speech_come_while_it_goes_on() -> None:
    """Otherwise a speaker who never breathes would fill the memory."""
    planner = ChunkPlanner()

    chunks = planner.push(talk((0.9, 600)))

    assert len(chunks) >= 600 // 28
    assert all(chunk.end - chunk.start <= MAX for chunk in chunks)


def test_sound_before_needed_from_is_in_no_later_chunk() -> None:
    planner = ChunkPlanner()
    blocks = np.array_split(talk(*[(0.9, 6.0), (0.0, 0.4)] * 40), 90)
    for block in blocks:
        needed = planner.needed_from
        assert all(chunk.start >= needed for chunk in planner.push(block))
    assert planner.needed_from > 200 * ASR_RATE_HZ


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="min_s"):
        ChunkPlanner(max_s=10, min_s=20)
    with pytest.raises(ValueError, match="first_share"):
        ChunkPlanner(first_share=0.0)


RUNS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.4, 0.6, 0.95]), st.floats(0.05, 40)), min_size=1, max_size=30)


@given(RUNS, st.integers(1, 500))
def test_chunks_are_ordered_disjoint_bounded_and_hold_all_speech(runs: list[tuple[float, float]], block: int) -> None:
    probabilities = talk(*runs)
    endpointer = Endpointer()
    spoken: list[Utterance] = endpointer.push(probabilities)
    last = endpointer.finish()
    spoken += [last] if last else []

    chunks = plan(probabilities)

    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert all(0 < chunk.end - chunk.start <= MAX for chunk in chunks)
    assert all(before.end <= after.start for before, after in itertools.pairwise(chunks))
    parts = [part for chunk in chunks for part in chunk.utterances]
    assert all(before.end <= after.start for before, after in itertools.pairwise(parts))
    assert sum(part.length for part in parts) == sum(utterance.length for utterance in spoken)
    for utterance in spoken:
        inside = [part for part in parts if utterance.start <= part.start and part.end <= utterance.end]
        assert sum(part.length for part in inside) == utterance.length

    planner = ChunkPlanner()
    streamed = [
        chunk
        for start in range(0, len(probabilities), block)
        for chunk in planner.push(probabilities[start : start + block])
    ]
    assert [*streamed, *planner.finish()] == chunks, "the size of the blocks does not move the cuts"


def test_the_first_chunk_may_be_shorter_than_the_others() -> None:
    speech = talk(*[(0.9, 3.5), (0.0, 0.5)] * 20)

    lengths = [chunk.end - chunk.start for chunk in plan(speech, ChunkPlanner(first_share=0.5))]

    assert 11 * ASR_RATE_HZ <= lengths[0] <= MAX // 2
    assert all(22 * ASR_RATE_HZ <= length <= MAX for length in lengths[1:-1])


def test_a_first_chunk_without_pauses_is_cut_where_it_must_end() -> None:
    first, second = plan(talk((0.9, 40)), ChunkPlanner(first_share=0.5))

    assert 11 <= seconds(first)[1] <= 14
    assert second.start == first.end
