"""What moves between translation and synthesis."""

from dataclasses import dataclass

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.dubbing.segment import NO_FORECAST, Forecast, Sentence, Slot
from octavia_stream.languages import Language
from octavia_stream.tts.voice import Voice


@dataclass(frozen=True, slots=True)
class SpokenBy:
    """A voice, and what speaks with it."""

    voice: Voice
    fingerprint: str
    """Of the model, for the digests of checkpoints."""


@dataclass(frozen=True, slots=True)
class Given:
    """What is settled of a line before it is translated and spoken."""

    by: SpokenBy
    text: str | None
    """None: it is to be translated."""
    speed: float | None
    """None: to be chosen."""
    forecast: Forecast = NO_FORECAST
    kept_original: bool = False
    """Nobody could speak it, and nobody shall try again."""
    told: bool = False
    """It was spoken so before, and everybody knows."""


@dataclass(frozen=True, slots=True)
class SlottedSentence:
    """A sentence and the room its dub has."""

    sentence: Sentence
    slot: Slot
    given: Given | None = None


@dataclass(frozen=True, slots=True)
class SentenceBatch:
    """Sentences that became complete together; translated in one call, unless the text of all is given."""

    index: int
    sentences: tuple[SlottedSentence, ...]
    """At least one. All that are to be translated are of one language."""

    @property
    def language(self) -> Language:
        """Of what is to be translated."""
        return self.sentences[0].sentence.language

    @property
    def written(self) -> bool:
        """Whether nothing of it is to be translated."""
        return all(item.given is not None and item.given.text is not None for item in self.sentences)


@dataclass(frozen=True, slots=True)
class Line:
    """What is to be said, how fast, and where."""

    sentence: Sentence
    slot: Slot
    text: str
    speed: float
    by: SpokenBy
    forecast: Forecast = NO_FORECAST
    kept_original: bool = False
    """Nobody shall try to speak it."""
    told: bool = False
    """It was spoken so before, and everybody knows."""


@dataclass(frozen=True, slots=True, eq=False)
class SpokenLine:
    """A line and its speech, not yet fitted."""

    line: Line
    speech: AudioChunk
    kept_original: bool = False
    """There is none: nobody could speak the line, and the original is to sound instead."""
