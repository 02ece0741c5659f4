"""Voice: who speaks, and with which engine."""

from dataclasses import dataclass
from typing import Literal

from octavia_stream.languages import Language

Gender = Literal["female", "male", "neutral"]


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice of the catalogue, or one that was cloned."""

    id: str
    """Unique over all engines, such as `kokoro/pf_dora`."""
    language: Language
    gender: Gender
    model: str
    """Catalogue id of the model that speaks it."""
    speaker: str = ""
    """The engine's own name for it."""
    characters_per_second: float = 14.0
    """How fast it reads at speed 1, in characters of what is said (`spoken_text`); measured, used to predict
    durations."""
