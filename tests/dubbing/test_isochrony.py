"""Speech is fitted to its slot without overlap and without drift."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.dubbing.isochrony import (
    BREATH,
    MAX_SPEED,
    MAX_TEMPO,
    Timeline,
    choose,
    choose_speed,
    predicted_length,
    report,
    segment_fit,
)
from octavia_stream.dubbing.segment import DubbedSegment, Forecast, SegmentFit, Sentence, Slot
from octavia_stream.languages import Language
from octavia_stream.mt.translator import Hypothesis
from octavia_stream.tts.voice import Voice

EN = Language("en")
VOICE = Voice("scripted/voice", EN, "neutral", "scripted", characters_per_second=14.0)
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


slot_lengths = st.lists(st.integers(SECOND // 2, 20 * SECOND), min_size=1, max_size=40)
HOURS = 3 * 3600 * SECOND


@given(slot_lengths, st.data())
def test_over_hours_speech_that_can_be_made_to_fit_starts_with_its_slot_to_the_sample(
    rooms: list[int], data: st.DataObject
) -> None:
    naturals = [data.draw(st.integers(1, int((room - BREATH) * MAX_TEMPO))) for room in rooms]
    timeline, at = Timeline(), 0
    while at < HOURS:
        for room, natural in zip(rooms, naturals, strict=True):
            slot = Slot(at, at + room)
            placement = timeline.place(natural, slot)
            assert placement.start == slot.start
            assert placement.end <= slot.end - BREATH
            assert 1.0 <= placement.tempo <= MAX_TEMPO
            at = slot.end
        # As the shortest such talk is of half a second, hours of it would be thousands of rounds.
        at += HOURS // 8 // sum(rooms) * sum(rooms)


@given(st.lists(st.tuples(lengths, lengths), min_size=1, max_size=60))
def test_a_sentence_is_late_by_what_overran_since_the_last_pause_and_by_nothing_else(
    pieces: list[tuple[int, int]],
) -> None:
    """pieces: for each sentence, the length of its slot and of its natural speech."""
    timeline, at, late = Timeline(), HOURS, 0
    for length, natural in pieces:
        slot = Slot(at, at + length)
        placement = timeline.place(natural, slot)
        assert placement.delay == late
        assert placement.natural == pytest.approx(natural, abs=1)
        taken = math.ceil(natural / MAX_TEMPO) + BREATH if natural else 0
        late = max(late + taken - length, 0)
        at = slot.end
    assert timeline.place(SECOND, Slot(at + late, at + late + 2 * SECOND)).delay == 0


def test_what_is_said_is_reckoned_not_what_is_written() -> None:
    assert predicted_length("In 1455.", VOICE) == predicted_length("In fourteen fifty-five.", VOICE)
    assert predicted_length("x" * 28, VOICE) == 2 * SECOND


def test_the_voice_speaks_faster_only_as_far_as_the_prediction_asks() -> None:
    slot = Slot(0, 10 * SECOND)
    assert choose_speed(4 * SECOND, slot) == 1.0
    assert 1.0 < choose_speed(11 * SECOND, slot) < MAX_SPEED
    assert choose_speed(70 * SECOND, slot) == MAX_SPEED


def test_the_best_hypothesis_that_fits_is_spoken_and_the_shortest_when_none_does() -> None:
    long, short, shorter = (Hypothesis("x" * n, score) for n, score in ((60, -0.1), (35, -0.2), (30, -0.3)))
    slot = Slot(0, 2 * SECOND)
    text, speed, forecast = choose([long, short, shorter], slot, VOICE)
    assert text == short.text
    assert speed == MAX_SPEED
    assert forecast == Forecast(round(predicted_length(short.text, VOICE) / speed), 2, 3)
    assert choose([long], slot, VOICE)[0] == long.text
    assert choose([long, short, shorter], Slot(0, SECOND // 10), VOICE)[0] == shorter.text


def fitted(timeline: Timeline, natural_s: float, slot: Slot, spoken_s: float = 1.0) -> SegmentFit:
    sentence = Sentence(0, "Said.", EN, slot.start, slot.start + round(spoken_s * SECOND))
    placement = timeline.place(round(natural_s * SECOND), slot)
    forecast = Forecast(round(natural_s * SECOND), 2, 4)
    return segment_fit(DubbedSegment(sentence, "Dito.", VOICE, slot, 1.15, placement, forecast=forecast))


def test_what_was_done_to_a_sentence_is_said_in_seconds() -> None:
    fit = fitted(Timeline(), 4.4, Slot(SECOND, 5 * SECOND + BREATH), spoken_s=3.0)
    assert (fit.start_s, fit.end_s, fit.slot_end_s) == (1.0, 5.0, 5.06)
    assert (fit.predicted_s, fit.natural_s, fit.tempo, fit.borrowed_s) == (4.4, 4.4, 1.1, 1.0)
    assert (fit.hypothesis, fit.hypotheses, fit.speed) == (2, 4, 1.15)
    assert (fit.delay_s, fit.trimmed_s, fit.overrun_s, fit.inside, fit.spoken) == (0, 0, 0, True, True)


def test_the_report_counts_what_was_done() -> None:
    timeline = Timeline()
    slots = [Slot(0, 4 * SECOND), Slot(4 * SECOND, 20 * SECOND), Slot(20 * SECOND, 30 * SECOND)]
    fits = [fitted(timeline, natural, slot) for natural, slot in zip((10, 2, 2), slots, strict=True)]
    assert [fit.overrun_s for fit in fits] == [4.0, 0.0, 0.0]
    summary = report(fits)
    assert (summary.segments, summary.inside_slot, summary.stretched, summary.delayed) == (3, 1, 1, 1)
    assert (summary.overran, summary.alternatives, summary.hurried, summary.worst_tempo) == (1, 3, 3, 1.25)
    assert summary.worst_delay_s == 4.06
    assert (summary.worst_overrun_s, summary.inside_share, summary.stretched_share) == (4.0, 1 / 3, 1 / 3)
