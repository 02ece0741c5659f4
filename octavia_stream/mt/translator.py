"""Port: text to text in another language."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from octavia_stream.languages import Language


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One way to say it. `score` is the mean log-probability per token: higher is better."""

    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Translation:
    """A sentence and what it may become, best hypothesis first. Never empty."""

    source: str
    hypotheses: tuple[Hypothesis, ...]

    @property
    def best(self) -> Hypothesis:
        return self.hypotheses[0]


class Translator(Protocol):
    """Text to text, a batch of sentences at a time."""

    async def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        """Translate whole sentences, one result each, in order.

        hypotheses: how many alternatives to ask for; an engine that cannot search returns fewer.
        A blank sentence becomes a blank translation. Pivots through English where no direct pair exists.
        Raises UnsupportedLanguage for a pair with no path, EngineUnavailable (a retry helps).
        """
        ...
