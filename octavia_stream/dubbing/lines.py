"""What moves between translation and synthesis."""

from dataclasses import dataclass

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.dubbing.segment import NO_FORECAST, Forecast, Sentence, Slot


@dataclass(frozen=True, slots=True)
class SlottedSentence:
    """A sentence and the room its dub has."""

    sentence: Sentence
    slot: Slot


@dataclass(frozen=True, slots=True)
class SentenceBatch:
    """Sentences that became complete together; translated in one call."""

    index: int
    sentences: tuple[SlottedSentence, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """What is to be said, how fast, and where."""

    sentence: Sentence
    slot: Slot
    text: str
    speed: float
    forecast: Forecast = NO_FORECAST


@dataclass(frozen=True, slots=True, eq=False)
class SpokenLine:
    """A line and its speech, not yet fitted."""

    line: Line
    speech: AudioChunk
    kept_original: bool = False
    """There is none: nobody could speak the line, and the original is to sound instead."""
