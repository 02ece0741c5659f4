"""What is asked of a worker, and what it says while it works: both travel through Redis as MessagePack."""

from uuid import UUID

import msgspec

from octavia_stream import errors
from octavia_stream.errors import EngineUnavailable, OctaviaError
from octavia_stream.media.info import AudioTrack
from octavia_stream.media.sound_writer import SpokenFormat


class Transcribe(msgspec.Struct, frozen=True, tag="transcribe"):
    """Write down what is said in a recording."""

    key: str
    """Where it lies in the object store."""
    track: AudioTrack
    language: str | None
    """What is spoken; None: it is detected."""
    into_english: bool
    max_duration_s: int


class Speak(msgspec.Struct, frozen=True, tag="speak"):
    """Read a text aloud."""

    text: str
    voice: str
    speed: float
    format: SpokenFormat


class Call(msgspec.Struct, frozen=True):
    """One request."""

    id: UUID
    ask: Transcribe | Speak
    owner_id: UUID | None = None
    """Who asks, as the switchboard knows it."""


class HeardWord(msgspec.Struct, frozen=True):
    """One word, in seconds from the start of the recording."""

    text: str
    start_s: float
    end_s: float
    probability: float


class Alive(msgspec.Struct, frozen=True, tag="alive"):
    """A worker has the call and works on it."""


class Heard(msgspec.Struct, frozen=True, tag="heard"):
    """The next sentence of a recording."""

    text: str
    start_s: float
    end_s: float
    words: list[HeardWord]
    """As they were heard, also where `text` is a translation of them."""


class Sound(msgspec.Struct, frozen=True, tag="sound"):
    """The next bytes of a spoken text."""

    data: bytes
    spoken_s: float
    """Seconds of speech that were made until now."""


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """That was all."""

    seconds: float
    """Of sound that was listened to or made."""
    language: str | None
    """What is spoken; None when nobody said a word."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """There is no answer, or no more of it."""

    code: str
    message: str

    def error(self) -> OctaviaError:
        """What the worker raised."""
        return _BY_CODE.get(self.code, EngineUnavailable)(self.message)


Reply = Alive | Heard | Sound | Finished | Refused

_BY_CODE: dict[str, type[OctaviaError]] = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, OctaviaError)
}
