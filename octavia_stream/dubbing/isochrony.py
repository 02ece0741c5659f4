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
from octavia_stream.dubbing.segment import DubbedSegment, Forecast, Placement, SegmentFit, Slot
from octavia_stream.mt.translator import Hypothesis
from octavia_stream.tts.normalisation import spoken_text
from octavia_stream.tts.voice import Voice

MAX_SPEED = 1.2
"""What the voices still say clearly by themselves."""
MAX_TEMPO = 1.25
"""Stretching beyond this is heard as such."""
TRUSTED_TEMPO = 1.12
"""How much of that a translation may count on: the rest is for speech that takes longer than predicted."""
SPEED_STEP = 0.05
BREATH = round(0.06 * ASR_RATE_HZ)
"""Silence kept between two dubbed sentences, in samples at 16 kHz."""


def predicted_length(text: str, voice: Voice) -> int:
    """How long a voice will take for a text at speed 1, in samples at 16 kHz.

    Counted is what is read aloud: figures and abbreviations as the words that they become. Over 26 sentences each of
    two real dubs that is right within 2.6 % (kokoro/pf_dora) and 6.6 % (hibari/heart), root mean square; the text as
    written would be off by 9.5 and 6.5 %. A term for commas or for the sentence as such gains less than 1 %.
    """
    return round(len(spoken_text(text, voice.language)) / voice.characters_per_second * ASR_RATE_HZ)


def fits(text: str, slot: Slot, voice: Voice) -> bool:
    """Whether a text can be made to fit: spoken fast and stretched, within what stays clear."""
    return predicted_length(text, voice) <= max(slot.length - BREATH, 0) * MAX_SPEED * TRUSTED_TEMPO


def choose(hypotheses: Sequence[Hypothesis], slot: Slot, voice: Voice) -> tuple[str, float, Forecast]:
    """What to say in a slot, how fast, and what that is reckoned to take.

    The best-scored hypothesis that can be made to fit, else the one that is said soonest.
    """
    lengths = [predicted_length(hypothesis.text, voice) for hypothesis in hypotheses]
    fitting = (number for number, one in enumerate(hypotheses) if fits(one.text, slot, voice))
    chosen = next(fitting, min(range(len(lengths)), key=lengths.__getitem__))
    speed = choose_speed(lengths[chosen], slot)
    forecast = Forecast(round(lengths[chosen] / speed), chosen + 1, len(hypotheses))
    return hypotheses[chosen].text, speed, forecast


def choose_speed(predicted: int, slot: Slot) -> float:
    """The slowest speed from 1 to MAX_SPEED at which speech of this length fits the slot, in steps of 0.05.

    Steps make equal sentences equal requests, so that a repeated line can be found again.
    """
    room = max(slot.length - BREATH, 1)
    steps = math.ceil((predicted / room - 1.0) / SPEED_STEP)
    return min(max(1.0 + SPEED_STEP * steps, 1.0), MAX_SPEED)


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


def segment_fit(segment: DubbedSegment) -> SegmentFit:
    """What was done to one sentence."""
    placement, slot, sentence = segment.placement, segment.slot, segment.sentence
    overrun = max(placement.end - slot.end, 0) if placement.length else 0
    borrowed = max(min(placement.end, slot.end) - max(sentence.end, placement.start), 0)
    return SegmentFit(
        index=sentence.index,
        start_s=_seconds(placement.start),
        end_s=_seconds(placement.end),
        slot_end_s=_seconds(slot.end),
        predicted_s=_seconds(segment.forecast.length),
        natural_s=_seconds(placement.natural),
        hypothesis=segment.forecast.hypothesis,
        hypotheses=segment.forecast.hypotheses,
        speed=round(segment.speed, 3),
        tempo=round(placement.tempo, 3),
        borrowed_s=_seconds(borrowed),
        delay_s=_seconds(placement.delay),
        trimmed_s=_seconds(placement.trimmed),
        overrun_s=_seconds(overrun),
        inside=placement.delay == 0 and placement.trimmed == 0 and not overrun,
        spoken=placement.length > 0 and not segment.kept_original,
    )


@dataclass(frozen=True, slots=True)
class FitReport:
    """How well a dub fits, over all its segments."""

    segments: int
    inside_slot: int
    stretched: int
    delayed: int
    trimmed: int
    overran: int
    alternatives: int
    """Segments for which another translation than the best was taken."""
    hurried: int
    """Segments for which the voice was asked to speak faster."""
    worst_delay_s: float
    worst_overrun_s: float
    worst_tempo: float

    @property
    def inside_share(self) -> float:
        return self.inside_slot / self.segments if self.segments else 1.0

    @property
    def stretched_share(self) -> float:
        return self.stretched / self.segments if self.segments else 0.0


def report(fits: Sequence[SegmentFit]) -> FitReport:
    """Sum up what was done to every segment."""
    return FitReport(
        segments=len(fits),
        inside_slot=sum(fit.inside for fit in fits),
        stretched=sum(abs(fit.tempo - 1.0) > 0.005 for fit in fits),
        delayed=sum(fit.delay_s > 0 for fit in fits),
        trimmed=sum(fit.trimmed_s > 0 for fit in fits),
        overran=sum(fit.overrun_s > 0 for fit in fits),
        alternatives=sum(fit.hypothesis > 1 for fit in fits),
        hurried=sum(fit.speed > 1.0 for fit in fits),
        worst_delay_s=max((fit.delay_s for fit in fits), default=0.0),
        worst_overrun_s=max((fit.overrun_s for fit in fits), default=0.0),
        worst_tempo=max((fit.tempo for fit in fits), default=1.0),
    )


def _seconds(samples: int) -> float:
    return round(samples / ASR_RATE_HZ, 4)
