"""What another node needs to go on with a room, and what a room tells of its load."""

import msgspec

from octavia_stream.languages import Language
from octavia_stream.live.interpreting import Context


class SpeakerState(msgspec.Struct, frozen=True):
    """One speaker, as far as they were heard."""

    position: int = 0
    """Samples taken in, at 16 kHz."""
    language: Language | None = None
    """What they spoke last."""
    voices: dict[str, str] = {}
    """Target language → id of the voice that speaks for them."""


class LanguageState(msgspec.Struct, frozen=True):
    """One language that goes out."""

    position: int = 0
    """Samples sent, at 48 kHz."""
    dropped_phrases: int = 0
    contexts: dict[str, Context] = {}
    """Speaker → the sentence they are in the middle of."""


class RoomState(msgspec.Struct, frozen=True):
    """A room between two instants. A few kB at most."""

    seq: int = 0
    """Number of the last event."""
    segment: int = 0
    """Number of the last segment."""
    speakers: dict[str, SpeakerState] = {}
    languages: dict[Language, LanguageState] = {}


class LanguageLoad(msgspec.Struct, frozen=True):
    """How one language keeps up."""

    listeners: int
    waiting_phrases: int
    """Translated and not yet spoken."""
    lag_s: float
    """Ear-voice span of the phrase spoken last."""
    dropped_phrases: int
    dropped_frames: int
    """Over all listeners there are."""


class RoomLoad(msgspec.Struct, frozen=True):
    """How a room keeps up."""

    heard_s: float
    """Sound taken in, over all speakers and all nodes that had the room."""
    speakers: int
    waiting_s: float
    """Sound taken in and not yet recognised: the longest of all speakers."""
    dropped_input_s: float
    """Sound that came faster than it could be taken."""
    languages: dict[Language, LanguageLoad]
