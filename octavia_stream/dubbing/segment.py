"""What moves down the corridor: a sentence, then its translation, then its speech."""

from dataclasses import dataclass

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.languages import Language
from octavia_stream.mt.translator import Translation
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


@dataclass(frozen=True, slots=True, eq=False)
class DubbedSegment:
    """A sentence, translated, spoken and fitted to its slot."""

    sentence: Sentence
    translation: Translation
    text: str
    """The hypothesis that is spoken."""
    voice: Voice
    slot: Slot
    speech: AudioChunk
    """Fitted speech at the voice's rate; its offset is where it starts, in samples at that rate."""
    speed: float
    """The speaking rate asked of the voice."""
    stretch: float
    """Length after stretching over length before: below 1 is faster."""
    trimmed: int
    """Samples (at the voice's rate) cut from the end because even the limits did not fit; 0 is the rule."""
