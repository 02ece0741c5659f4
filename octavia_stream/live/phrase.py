"""Phrase: what is translated and spoken as one: a clause, or what there is of it when waiting would cost too much."""

from dataclasses import dataclass, replace

from octavia_stream.audio.chunk import Samples
from octavia_stream.languages import Language


@dataclass(frozen=True, slots=True, eq=False)
class Phrase:
    """Words that will not change any more. Positions in samples at 16 kHz on the speaker's timeline."""

    segment: int
    speaker: str
    language: Language
    text: str
    start: int
    end: int
    heard_at: float
    """When the end of its first word came, by the room's clock."""
    opens: bool
    """Whether a sentence begins with it."""
    closes: bool
    """Whether a sentence ends with it."""
    sound: Samples | None = None
    """How it was said, mono at 16 kHz, where that may be passed on."""

    def until(self, last: "Phrase") -> "Phrase":
        """This and everything up to another, which comes later, as one."""
        return replace(self, text=f"{self.text} {last.text}", end=last.end, closes=last.closes)

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / 16_000


@dataclass(frozen=True, slots=True)
class Draft:
    """What will be a phrase, as far as it was heard; its end may still change. Positions as there."""

    segment: int
    speaker: str
    language: Language
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Line:
    """A phrase in the language that goes out."""

    phrase: Phrase
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class SpokenLine:
    """A line with its sound."""

    line: Line
    samples: Samples
    """Mono, 48 kHz."""
    speed: float
