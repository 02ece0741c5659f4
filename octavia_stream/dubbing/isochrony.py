"""Fit speech to its slot: say it faster, borrow the silence that follows, stretch, and never overlap.

Terms: a slot runs from where a sentence starts to where the next one starts, so the silence after a
sentence belongs to it. Speed is what is asked of the voice, tempo what is done to its sound afterwards;
both above 1 are faster. A sentence that overruns its slot in spite of both delays the next one, which
catches up in the first pause: nothing is cut and nothing overlaps, except that the file's end is final.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.dubbing.segment import Placement, Slot
from octavia_stream.mt.translator import Hypothesis

MAX_SPEED = 1.2
"""What the voices still say clearly by themselves."""
MAX_TEMPO = 1.25
"""Stretching beyond this is heard as such."""
BREATH = round(0.06 * ASR_RATE_HZ)
"""Silence kept between two dubbed sentences, in samples at 16 kHz."""


def predicted_length(text: str, characters_per_second: float) -> int:
    """How long a voice will take for a text at speed 1, in samples at 16 kHz."""
    return round(len(text) / characters_per_second * ASR_RATE_HZ)


def fits(text: str, slot: Slot, characters_per_second: float) -> bool:
    """Whether a text can be made to fit: spoken fast and stretched, within what stays clear."""
    return predicted_length(text, characters_per_second) <= slot.length * MAX_SPEED * MAX_TEMPO


def choose_hypothesis(hypotheses: Sequence[Hypothesis], slot: Slot, characters_per_second: float) -> Hypothesis:
    """The best-scored hypothesis that can be made to fit, else the shortest."""
    for hypothesis in hypotheses:
        if fits(hypothesis.text, slot, characters_per_second):
            return hypothesis
    return min(hypotheses, key=lambda hypothesis: len(hypothesis.text))


def choose_speed(text: str, slot: Slot, characters_per_second: float) -> float:
    """The slowest speed from 1 to MAX_SPEED at which the prediction fits the slot, in steps of 0.05.

    Steps make equal sentences equal requests, so that a repeated line can be found again.
    """
    room = max(slot.length - BREATH, 1)
    needed = predicted_length(text, characters_per_second) / room
    steps = -(-(needed - 1.0) // 0.05)
    return min(max(1.0 + 0.05 * steps, 1.0), MAX_SPEED)


class Timeline:
    """Places speech in order. Positions and lengths are samples at 16 kHz."""

    def __init__(self) -> None:
        self._free_from = 0

    def place(self, natural: int, slot: Slot, end: int | None = None) -> Placement:
        """Decide start and tempo for speech of `natural` samples; sentences come in order of time.

        end: the file's length, where even the last word must stop; None while it is not known.
        """
        start = max(slot.start, self._free_from)
        room = max(slot.end - BREATH - start, 0)
        length = min(natural, max(room, math.ceil(natural / MAX_TEMPO)))
        limit = length if end is None else max(end - start, 0)
        kept = min(length, limit)
        if kept:
            self._free_from = start + kept + BREATH
        return Placement(start, kept, natural / length if length else 1.0, start - slot.start, length - kept)


@dataclass(frozen=True, slots=True)
class FitReport:
    """How well a dub fits, over all its segments."""

    segments: int
    inside_slot: int
    stretched: int
    delayed: int
    trimmed: int
    worst_delay_s: float
    worst_tempo: float

    @property
    def inside_share(self) -> float:
        return self.inside_slot / self.segments if self.segments else 1.0


def report(placements: Sequence[tuple[Placement, Slot]]) -> FitReport:
    """Sum up what was done to every segment."""
    inside = [p.delay == 0 and p.trimmed == 0 and p.end <= max(slot.end, p.start) for p, slot in placements]
    return FitReport(
        segments=len(placements),
        inside_slot=sum(inside),
        stretched=sum(p.tempo > 1.005 for p, _ in placements),
        delayed=sum(p.delay > 0 for p, _ in placements),
        trimmed=sum(p.trimmed > 0 for p, _ in placements),
        worst_delay_s=max((p.delay for p, _ in placements), default=0) / ASR_RATE_HZ,
        worst_tempo=max((p.tempo for p, _ in placements), default=1.0),
    )
