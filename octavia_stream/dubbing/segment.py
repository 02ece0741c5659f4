"""What moves down the corridor: a sentence, then its translation, then its speech."""

from dataclasses import dataclass

from octavia_stream.languages import Language
from octavia_stream.tts.voice import Voice


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence as it was spoken. Positions in samples at 16 kHz on the file's timeline."""

    index: int
    """Counts from 0 over the whole file, in order of time."""
    text: str
    language: Language
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the dub of a sentence may sound. Positions in samples at 16 kHz."""

    start: int
    end: int
    """Where the next sentence starts, or the file ends: nothing may sound past it."""

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a sentence's speech sounds. Positions and lengths in samples at 16 kHz."""

    start: int
    length: int
    """After stretching and trimming."""
    tempo: float
    """Natural length over stretched length: above 1 is faster."""
    delay: int
    """How much later than its slot it starts, because the sentence before overran."""
    trimmed: int
    """What had to be cut because the file ends; 0 is the rule."""

    @property
    def end(self) -> int:
        return self.start + self.length

    @property
    def natural(self) -> int:
        """How long the speech was before it was stretched and trimmed."""
        return round((self.length + self.trimmed) * self.tempo)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What was reckoned with before a sentence was spoken."""

    length: int
    """How long its speech was to be at the speed asked, in samples at 16 kHz."""
    hypothesis: int
    """Which of the translations is spoken, counted from 1; 1 is the best."""
    hypotheses: int
    """Out of how many: one, unless that was too long for its slot."""


NO_FORECAST = Forecast(0, 1, 1)


@dataclass(frozen=True, slots=True)
class DubbedSegment:
    """A sentence, translated, spoken and fitted to its slot."""

    sentence: Sentence
    text: str
    """The hypothesis that is spoken."""
    voice: Voice
    slot: Slot
    speed: float
    """The speaking rate asked of the voice."""
    placement: Placement
    kept_original: bool = False
    """Nobody could speak it, so the original sounds there as it is."""
    forecast: Forecast = NO_FORECAST

    @property
    def spoken_over(self) -> tuple[tuple[int, int], ...]:
        """Where the original must be quiet: while somebody speaks, in either language. Samples at 16 kHz."""
        if self.kept_original:
            return ()
        return (self.sentence.start, self.sentence.end), (self.placement.start, self.placement.end)


@dataclass(frozen=True, slots=True)
class SegmentFit:
    """What was done to one sentence so that it fits. Seconds on the media's timeline."""

    index: int
    start_s: float
    end_s: float
    slot_end_s: float
    """Where the next sentence starts."""
    predicted_s: float
    """How long its speech was to be, at the speed asked."""
    natural_s: float
    """How long it was, before it was stretched."""
    hypothesis: int
    """Which of the translations is spoken, counted from 1; 1 is the best."""
    hypotheses: int
    """Out of how many."""
    speed: float
    """Asked of the voice."""
    tempo: float
    """Done to its sound afterwards."""
    borrowed_s: float
    """How much of the silence after the original sentence it fills."""
    delay_s: float
    """How much later than the original it starts, because the one before overran."""
    trimmed_s: float
    """What was cut because the file ends."""
    overrun_s: float
    """How far it reaches into the next sentence's slot, and moves that one's start."""
    inside: bool
    """Whether it starts with its slot, ends in it, and is whole."""
    spoken: bool
    """False where the original is kept because no engine could speak it, or where there was nothing to say."""


@dataclass(frozen=True, slots=True)
class HeardLine:
    """One sentence of the dub, as it was to be said and as it was understood."""

    index: int
    text: str
    heard: str
    words: int
    """Of the text."""
    errors: int
    """Words that were understood otherwise, not at all, or besides."""
