"""What happens in a live session, as its clients see it. Seconds are counted from the first sample that came in."""

from typing import TypeAlias

import msgspec

from octavia_stream.languages import Language


class LiveEvent(msgspec.Struct, frozen=True, tag_field="type"):
    """Numbered by `LiveRecord`; old numbers are never given again, not even after a resume."""


class Caption(LiveEvent, frozen=True, tag="caption"):
    """What is known of one segment in one language. A later one with the same `segment` and `language` replaces it.

    The first `stable` characters never change again; the rest may, until `final`.
    """

    language: Language
    segment: int
    text: str
    stable: int
    final: bool
    start_s: float
    end_s: float
    speaker: str
    source: bool
    """Whether this is what was said, and not a translation of it."""


class PhraseSpoken(LiveEvent, frozen=True, tag="phrase_spoken"):
    """A phrase starts to sound. What was spoken is never taken back."""

    language: Language
    segment: int
    text: str
    speaker: str
    start_s: float
    """Position in the sound that goes out, in seconds from its first frame."""
    duration_s: float
    ear_voice_span_s: float
    """From the end of the phrase's first word in the source to the start of the phrase in the dub."""
    speed: float


class PhrasesDropped(LiveEvent, frozen=True, tag="phrases_dropped"):
    """The lag passed its limit and nothing else helped."""

    language: Language
    count: int
    total: int


class LanguageHeard(LiveEvent, frozen=True, tag="language_heard"):
    """What is spoken, when it was to be found out."""

    speaker: str
    language: Language


class SpeakerJoined(LiveEvent, frozen=True, tag="speaker_joined"):
    speaker: str


class SpeakerLeft(LiveEvent, frozen=True, tag="speaker_left"):
    """Nothing came for 3 s, or the peer said goodbye; the session waits 30 s for somebody to come back."""

    speaker: str
    reason: str


class Troubled(LiveEvent, frozen=True, tag="troubled"):
    """Something failed that the session survives, such as a model server that restarts."""

    code: str
    message: str


class SessionEnded(LiveEvent, frozen=True, tag="session_ended"):
    """The last event."""

    reason: str
    seconds: float
    """Sound that was taken in."""


AnyLiveEvent: TypeAlias = (
    Caption | PhraseSpoken | PhrasesDropped | LanguageHeard | SpeakerJoined | SpeakerLeft | Troubled | SessionEnded
)


class LiveRecord(msgspec.Struct, frozen=True):
    """One event as it goes over the wire."""

    seq: int
    at_s: float
    event: AnyLiveEvent
