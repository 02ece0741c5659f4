"""What parent and jailed child say to each other.

Down the child's stdin: one request (length, then JSON), then raw samples if it is a MuxRequest.
Up its stdout: frames of one kind byte, a length and a payload, until a result or an error ends the talk.
Knows no media library: the parent imports it.
"""

import struct
from enum import Enum
from typing import Literal

import msgspec

LENGTH = struct.Struct("<I")
FRAME = struct.Struct("<cI")
BLOCK_BYTES = 1 << 20
"""No frame is longer: a block of samples, or a result."""


class FrameKind(bytes, Enum):
    """First byte of a frame."""

    SAMPLES = b"S"
    """Interleaved little-endian float32."""
    RESULT = b"R"
    """JSON of what the request asked for; the last frame."""
    ERROR = b"E"
    """JSON of a Failure; the last frame."""
    BYTES = b"B"
    """The next bytes of a piece of a stream."""
    PIECE = b"P"
    """JSON of a StreamPiece, after its bytes."""
    REACHED = b"T"
    """JSON of a Reached: work goes on."""


class Limits(msgspec.Struct, frozen=True):
    """What the child may use, and what it must refuse."""

    memory_bytes: int
    cpu_s: int
    file_bytes: int
    """Largest file it may write; 0 when it writes none."""
    max_duration_s: int
    max_streams: int
    max_width: int
    max_height: int


class ConfineRequest(msgspec.Struct, frozen=True, tag="confine"):
    """Confine yourself and say how: the self-test of the jail."""


class ProbeRequest(msgspec.Struct, frozen=True, tag="probe"):
    """Say what the file holds. Answer: MediaInfo."""


class DecodeRequest(msgspec.Struct, frozen=True, tag="decode"):
    """Decode one audio track. Answer: SAMPLES frames, then Decoded."""

    index: int
    start_s: float
    track_rate_hz: int
    rate_hz: int
    channels: int
    part: tuple[int, int] | None = None
    """Deliver nothing but what lies between these positions at `rate_hz`, and read no further."""


class SubtitleCues(msgspec.Struct, frozen=True):
    """One soft subtitle track to be written."""

    language: str
    """ISO 639-2."""
    title: str
    cues: tuple[tuple[float, float, str], ...]
    """(start, end, text), seconds on the file's timeline, in order."""


class Splice(msgspec.Struct, frozen=True):
    """Take the new sound from the file made earlier, but for a part. Positions in samples of the new sound."""

    sent: tuple[int, int]
    """What comes through stdin."""
    changed: tuple[int, int]
    """The part of it that sounds differently."""


class MuxRequest(msgspec.Struct, frozen=True, tag="mux"):
    """Write a file: picture and kept tracks from the source, new sound from stdin. Answer: MuxResult."""

    output_name: str
    """Inside the directory that the child may write."""
    container: str
    rate_hz: int
    channels: int
    start_s: float
    length: int | None
    language: str
    """ISO 639-2."""
    title: str
    picture: bool
    original_index: int | None
    original_title: str
    subtitles: tuple[SubtitleCues, ...]
    splice: Splice | None = None


Rendition = Literal["picture", "dub", "original"]


class StreamRequest(msgspec.Struct, frozen=True, tag="stream"):
    """Cut into segments: the picture of the source, and the two sounds of stdin. Answer: pieces, then Streamed."""

    rate_hz: int
    channels: int
    """Of each sound; stdin interleaves the dub's, then the original's."""
    start_s: float
    picture: bool
    encode: bool = False
    """Whether the picture is encoded anew, as H.264; else it is copied."""


class StreamPiece(msgspec.Struct, frozen=True):
    """One piece of a rendition: its head, or its next segment."""

    rendition: Rendition
    head: bool
    duration_s: float
    lead_s: float = 0.0
    """In the head of a sound: how long after the stream's zero its first sample is heard."""


class Streamed(msgspec.Struct, frozen=True):
    """Answer to StreamRequest, after the last piece."""

    picture: bool


class CutRequest(msgspec.Struct, frozen=True, tag="cut"):
    """Write a part of the source, packet for packet. Answer: CutResult."""

    output_name: str
    """Inside the directory that the child may write."""
    audio_index: int
    picture: bool
    start_s: float
    """On the file's timeline, as `end_s`."""
    end_s: float | None


class CutResult(msgspec.Struct, frozen=True):
    """A part that was written."""

    start_s: float
    """Where it begins on the file's timeline."""
    size: int


class BurnRequest(msgspec.Struct, frozen=True, tag="burn"):
    """Write the source with cues drawn into its picture. Answer: Reached now and then, and Burned."""

    output_name: str
    """Inside the directory that the child may write."""
    container: str
    """One that has a place for H.264."""
    cues: tuple[tuple[float, float, str], ...]
    """(start, end, text), seconds on the file's timeline, in order."""


class Reached(msgspec.Struct, frozen=True):
    """How far long work has come."""

    time_s: float
    """On the file's timeline."""


class Burned(msgspec.Struct, frozen=True):
    """A file that was drawn on."""

    frames: int
    size: int


SoundFormat = Literal["mp3", "opus", "aac", "flac"]


class EncodeRequest(msgspec.Struct, frozen=True, tag="encode"):
    """Encode the mono sound of stdin as it comes. Answer: BYTES frames, then Encoded."""

    format: SoundFormat
    rate_hz: int


class PictureRequest(msgspec.Struct, frozen=True, tag="picture"):
    """Make a JPEG of one picture of a video. Answer: BYTES frames, then Picture."""

    at_s: float
    """From where on to look for it."""
    width: int
    """In pixels, at most."""


class Picture(msgspec.Struct, frozen=True):
    """Answer to PictureRequest, after the last bytes."""

    width: int
    height: int


class Encoded(msgspec.Struct, frozen=True):
    """Answer to EncodeRequest, after the last bytes."""

    length: int
    """Samples at the codec's own rate."""


Task = (
    ConfineRequest
    | ProbeRequest
    | DecodeRequest
    | MuxRequest
    | StreamRequest
    | CutRequest
    | BurnRequest
    | EncodeRequest
    | PictureRequest
)


class Request(msgspec.Struct, frozen=True):
    """The first thing a child hears."""

    task: Task
    limits: Limits
    require_jail: bool
    inside_bubblewrap: bool
    parent_pid: int
    source: bytes | None = None
    """Path of the one file it may read, as the file system spells it."""
    output_directory: bytes | None = None
    """The one directory it may write."""
    earlier: bytes | None = None
    """Path of a file made earlier, which it may read as well."""


class Confinement(msgspec.Struct, frozen=True):
    """Answer to ConfineRequest: the layers that hold, strongest first."""

    layers: tuple[str, ...]


FailureCode = Literal["media_rejected", "media_too_large", "storage_full", "dependency_unavailable"]


class Failure(msgspec.Struct, frozen=True):
    """Why the child gave up. The message is ours, never a library's."""

    code: FailureCode
    message: str


class Decoded(msgspec.Struct, frozen=True):
    """How decoding went."""

    length: int
    """Samples delivered per channel, at the rate asked for."""
    source_length: int
    """Samples per channel on the track's timeline, at the track's own rate: what its decoded length is."""
    source_rate_hz: int
    errors: int
    """Packets that could not be decoded and were skipped."""
    filled: int
    """Samples of silence put into gaps, at the track's rate."""
    dropped: int
    """Samples dropped where timestamps overlap, at the track's rate."""
    truncated: bool
    """The container broke off before its end."""


class MuxResult(msgspec.Struct, frozen=True):
    """A finished file."""

    size: int
    """Bytes."""
    length: int
    """Samples per channel of the dubbed track, at `codec_rate_hz`."""
    codec: str
    codec_rate_hz: int
    padded: int
    """Samples of silence added because fewer were written than the plan's length."""
    cut: int
    """Samples ignored because more were written than the plan's length."""
    original_copied: bool
    """The original track is there packet for packet (False: re-encoded, or not asked for)."""
    warnings: tuple[str, ...]
