"""A live session in the words of OpenAI's realtime translation: JSON events over one WebSocket, sound as base64 of PCM
of 16 bits, mono, at 24 kHz.
"""

import base64
import binascii
from typing import Any
from uuid import uuid4

import msgspec

from octavia_stream.errors import InvalidRequest
from octavia_stream.languages import Language
from octavia_stream.live.events import Caption, LiveRecord, SessionEnded, Troubled
from octavia_stream.sessions.session import LiveSession

RATE_HZ = 24_000
LARGEST_SOUND = 192_000
"""Bytes of one `append`: four seconds."""


class Append(msgspec.Struct, frozen=True, tag="session.input_audio_buffer.append"):
    """Sound that was said."""

    audio: str

    def pcm(self) -> bytes:
        """Raises InvalidRequest."""
        try:
            found = base64.b64decode(self.audio, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidRequest("The audio is not base64.") from error
        if len(found) > LARGEST_SOUND:
            raise InvalidRequest(f"Send at most {LARGEST_SOUND // 2 // RATE_HZ} seconds of sound at a time.")
        return found


class Update(msgspec.Struct, frozen=True, tag="session.update"):
    """What the session should be like."""

    session: dict[str, Any] = {}

    def language(self) -> str | None:
        """The language that is to be heard, where it is named as `session.audio.output.language`."""
        found: Any = self.session
        for name in ("audio", "output", "language"):
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, str) else None


class Close(msgspec.Struct, frozen=True, tag="session.close"):
    """Nothing more is said: speak the rest, and end the session."""


_DECODER: msgspec.json.Decoder[Append | Update | Close] = msgspec.json.Decoder(Append | Update | Close)


def said(text: str) -> Append | Update | Close:
    """What a client says. Raises InvalidRequest."""
    try:
        return _DECODER.decode(text)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"This is no event that is understood here: {error}") from error


class Transcripts:
    """What of captions a client has not been told: only what will never change again."""

    def __init__(self, language: Language | None) -> None:
        """language: of the translation that is told; None tells none."""
        self._language = language
        self._told: dict[tuple[bool, int], int] = {}

    def event(self, record: LiveRecord) -> dict[str, Any] | None:
        """The event for a record; None when there is nothing to tell."""
        match record.event:
            case Caption() as caption:
                return self._delta(caption)
            case Troubled(code, message):
                return event("error", error={"type": "server_error", "code": code, "message": message})
            case SessionEnded(reason, seconds):
                return event("session.closed", reason=reason, seconds=seconds)
        return None

    def _delta(self, caption: Caption) -> dict[str, Any] | None:
        if not caption.source and caption.language != self._language:
            return None
        place = (caption.source, caption.segment)
        until = len(caption.text) if caption.final else caption.stable
        delta = caption.text[self._told.get(place, 0) : until]
        if caption.final:
            self._told.pop(place, None)
        else:
            self._told[place] = max(until, self._told.get(place, 0))
        if not delta:
            return None
        kind = "session.input_transcript.delta" if caption.source else "session.output_transcript.delta"
        return event(
            kind,
            delta=delta,
            language=caption.language,
            segment=caption.segment,
            speaker=caption.speaker,
            final=caption.final,
        )


def event(kind: str, **what: Any) -> dict[str, Any]:
    """An event with an id of its own."""
    return {"type": kind, "event_id": f"event_{uuid4().hex}", **what}


def sound_event(pcm: bytes) -> dict[str, Any]:
    """Sound of the translation."""
    delta = base64.b64encode(pcm).decode()
    return event("session.output_audio.delta", delta=delta, sample_rate=RATE_HZ, channels=1, format="pcm16")


def session_event(kind: str, session: LiveSession, language: Language) -> dict[str, Any]:
    """The session as the client may know it."""
    sound = {"type": "audio/pcm", "rate": RATE_HZ}
    return event(
        kind,
        session={
            "id": str(session.id),
            "type": "translation",
            "audio": {"input": {"format": sound}, "output": {"format": sound, "language": language}},
        },
    )
