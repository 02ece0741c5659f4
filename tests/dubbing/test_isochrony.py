"""Speech is fitted to its slot without overlap and without drift."""

from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.dubbing.isochrony import (
    BREATH,
    MAX_SPEED,
    MAX_TEMPO,
    Timeline,
    choose_hypothesis,
    choose_speed,
    report,
)
from octavia_stream.dubbing.segment import Slot
from octavia_stream.mt.translator import Hypothesis

SECOND = ASR_RATE_HZ


def test_speech_that_fits_keeps_its_start_and_its_pace() -> None:
    placement = Timeline().place(2 * SECOND, Slot(SECOND, 4 * SECOND))
    assert (placement.start, placement.length, placement.tempo) == (SECOND, 2 * SECOND, 1.0)


def test_speech_that_is_a_little_long_is_stretched_to_its_slot() -> None:
    slot = Slot(0, 10 * SECOND)
    placement = Timeline().place(11 * SECOND, slot)
    assert placement.end == slot.end - BREATH
    assert 1.0 < placement.tempo <= MAX_TEMPO


def test_speech_that_is_far_too_long_delays_the_next_which_catches_up_in_a_pause() -> None:
    timeline = Timeline()
    first = timeline.place(10 * SECOND, Slot(0, 4 * SECOND))
    second = timeline.place(2 * SECOND, Slot(4 * SECOND, 30 * SECOND))
    third = timeline.place(2 * SECOND, Slot(30 * SECOND, 40 * SECOND))
    assert first.length == round(10 * SECOND / MAX_TEMPO)
    assert second.start == first.end + BREATH
    assert second.delay > 0
    assert third.delay == 0


def test_the_end_of_the_file_is_final() -> None:
    placement = Timeline().place(10 * SECOND, Slot(0, 4 * SECOND), end=5 * SECOND)
    assert placement.end == 5 * SECOND
    assert placement.trimmed == round(10 * SECOND / MAX_TEMPO) - 5 * SECOND


lengths = st.integers(min_value=0, max_value=20 * SECOND)


@given(st.lists(st.tuples(lengths, lengths), max_size=30), st.integers(0, 5 * SECOND))
def test_nothing_ever_overlaps_or_leaves_the_file(pieces: list[tuple[int, int]], tail: int) -> None:
    """pieces: for each sentence, its distance to the next start and the natural length of its speech."""
    timeline = Timeline()
    starts = [0]
    for gap, _ in pieces:
        starts.append(starts[-1] + gap)
    end = starts[-1] + tail
    free = 0
    for index, (_, natural) in enumerate(pieces):
        slot = Slot(starts[index], starts[index + 1])
        placement = timeline.place(natural, slot, end)
        assert placement.start >= max(slot.start, free)
        assert placement.end <= max(end, placement.start)
        assert placement.tempo <= MAX_TEMPO + 1e-3
        assert placement.delay == placement.start - slot.start
        if placement.length:
            free = placement.end


def test_the_voice_speaks_faster_only_as_far_as_the_prediction_asks() -> None:
    slot = Slot(0, 10 * SECOND)
    assert choose_speed("x" * 50, slot, 14.0) == 1.0
    assert 1.0 < choose_speed("x" * 150, slot, 14.0) < MAX_SPEED
    assert choose_speed("x" * 1000, slot, 14.0) == MAX_SPEED


def test_the_best_hypothesis_that_fits_is_spoken_and_the_shortest_when_none_does() -> None:
    long, short, shorter = (Hypothesis("x" * n, score) for n, score in ((60, -0.1), (40, -0.2), (35, -0.3)))
    slot = Slot(0, 2 * SECOND)
    assert choose_hypothesis([long, short, shorter], slot, 14.0) is short
    assert choose_hypothesis([long], slot, 14.0) is long
    assert choose_hypothesis([long, short, shorter], Slot(0, SECOND // 10), 14.0) is shorter


def test_the_report_counts_what_was_done() -> None:
    timeline = Timeline()
    slots = [Slot(0, 4 * SECOND), Slot(4 * SECOND, 20 * SECOND), Slot(20 * SECOND, 30 * SECOND)]
    placed = [(timeline.place(natural * SECOND, slot), slot) for natural, slot in zip((10, 2, 2), slots, strict=True)]
    summary = report(placed)
    assert (summary.segments, summary.inside_slot, summary.stretched, summary.delayed) == (3, 1, 1, 1)
    assert summary.worst_delay_s > 3
