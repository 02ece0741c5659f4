"""Progress never falls, names the slowest unfinished stage, and is told at most four times a second."""

import pytest

from octavia_stream.dubbing.progress import ProgressTracker
from octavia_stream.events.event import JobEvent, Progress


class Told:
    def __init__(self) -> None:
        self.events: list[Progress] = []
        self.now = 0.0

    def emit(self, event: JobEvent) -> None:
        assert isinstance(event, Progress)
        self.events.append(event)


def test_percent_never_falls_and_ends_below_a_hundred() -> None:
    told = Told()
    tracker = ProgressTracker(told.emit, 1000, lambda: told.now)
    for position in (100, 400, 300, 1000, 2000):
        told.now += 1
        tracker.expect("synthesize", 1)
        tracker.finished("synthesize", 1, position)
    for stage in ("transcribe", "translate", "synthesize", "assemble"):
        tracker.ended(stage)
    percents = [event.percent for event in told.events]
    assert percents == sorted(percents)
    assert percents[-1] == 99.9


def test_events_closer_than_a_quarter_second_are_left_out() -> None:
    told = Told()
    tracker = ProgressTracker(told.emit, 1000, lambda: told.now)
    for step in range(100):
        told.now = step / 100
        tracker.finished("transcribe", 1, step)
    assert len(told.events) == 4


def test_the_phase_is_the_furthest_stage_at_work_and_counts_are_exact() -> None:
    told = Told()
    tracker = ProgressTracker(told.emit, 1000, lambda: told.now)
    tracker.expect("transcribe", 4, final=True)
    tracker.finished("transcribe", 1, 250)
    assert told.events[-1].phase == "TRANSCRIBING"
    told.now = 10
    tracker.expect("synthesize", 3)
    tracker.finished("synthesize", 2, 200)
    last = told.events[-1]
    assert last.phase == "SYNTHESIZING"
    assert (last.stages["synthesize"].done, last.stages["synthesize"].total) == (2, 3)
    assert last.stages["transcribe"].final
    assert last.remaining_s is not None
    assert last.remaining_s > 0


def test_several_languages_share_the_listening_and_nothing_else() -> None:
    told = Told()
    tracker = ProgressTracker(
        told.emit, 1000, lambda: told.now, weights={"transcribe": 0.2, "synthesize": 0.8}, lanes=2
    )
    tracker.ended("transcribe")
    assert told.events[-1].percent == pytest.approx(100 * 0.2 / 1.8, abs=0.1)
    told.now = 1
    tracker.lane(0).finished("synthesize", 1, 1000)
    assert told.events[-1].percent == pytest.approx(100 * 1.0 / 1.8, abs=0.1)
    assert told.events[-1].phase == "SYNTHESIZING"
    told.now = 2
    tracker.lane(1).finished("synthesize", 1, 500)
    assert told.events[-1].percent == pytest.approx(100 * 1.4 / 1.8, abs=0.1)
