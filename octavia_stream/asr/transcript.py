"""What was heard: words with times."""

from dataclasses import dataclass

from octavia_stream.languages import Language


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word, punctuation attached. Positions in samples at 16 kHz, `end` exclusive."""

    text: str
    start: int
    end: int
    probability: float
    """The model's own confidence, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words of one chunk, in order of time."""

    words: tuple[Word, ...]
    language: Language
    """The language of the words: the one spoken, or English when the task was to translate."""
    language_probability: float = 1.0
    sounds_like: Language | None = None
    """What the model takes the speech for, whatever language it was told; None: nobody knows."""
    sounds_like_probability: float = 0.0

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)
