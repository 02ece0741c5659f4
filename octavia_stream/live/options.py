"""What a live session is asked to do."""

from typing import Annotated, Literal

import msgspec

from octavia_stream.languages import Language

MAX_TARGETS = 8
Latency = Literal["low", "balanced", "quality"]
"""Low commits words and clauses sooner and revises captions more; quality waits for more context."""
OriginalSound = Literal["silent", "ducked", "pass"]
"""Under the dub: nothing, the original made quiet, or the original as it is where nothing is dubbed."""


class LiveTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One language that goes out."""

    language: Language
    voice: str | None = None
    """A voice of the catalogue for the first speaker; others get voices that differ. None: the language's default."""
    captions_only: bool = False


class LiveOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One speaker or several in, one language or several out."""

    targets: Annotated[tuple[LiveTarget, ...], msgspec.Meta(min_length=1, max_length=MAX_TARGETS)]
    source: Language | None = None
    """What is spoken; None lets the first seconds decide."""
    latency: Latency = "balanced"
    original: OriginalSound = "silent"
    own_language: Literal["silent", "pass"] = "silent"
    """What becomes of speech that is in the target language already."""
    max_lag_s: Annotated[float, msgspec.Meta(ge=2.0, le=30.0)] = 8.0
    """When the ear-voice span passes this, pauses are shortened, speech is hurried, and at last phrases are dropped."""
    record: bool = False
    """Keep the sound that comes in, so that a job can dub it afterwards."""
