"""A job and what may become of it."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from octavia_stream.captions.cues import USUAL, CueRules
from octavia_stream.dubbing.glossary import NO_GLOSSARY, Glossary
from octavia_stream.events.event import StageCount

JobKind = Literal["video-translate", "audio-translate", "subtitle-generate", "subtitle-translate", "subtitle-to-audio"]
JobStatus = Literal["pending", "processing", "completed", "failed", "cancelled"]
OnChunkFailure = Literal["fail", "keep_original"]
TERMINAL: frozenset[JobStatus] = frozenset({"completed", "failed", "cancelled"})


class _Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", kw_only=True):
    """What the user asked of a job; stored with it as JSON. The kind of job says which of these it is."""

    glossary: Glossary = NO_GLOSSARY
    tags: tuple[str, ...] = ()
    """The owner's own words for it: they change nothing, and may be changed at any time."""


class DubbingOptions(_Options, frozen=True, tag="video-translate"):
    """A dub: the file with another voice, beside its picture if it has one."""

    target_language: str
    """The first, when there are several."""
    source_language: str | None = None
    """None lets the model detect it."""
    voice: str | None = None
    """A voice of the catalogue; None takes the first of the target language."""
    target_languages: tuple[str, ...] = ()
    """All, when there are several; each has a file of its own."""
    voices: dict[str, str] = {}
    """By language; one that is not here has the default voice."""
    original_gain_db: float = -24.0
    """How loud the original stays under the dubbed voice, in dB relative to itself."""
    mute_original: bool = False
    """Nothing of the original is heard under the dub, nor between its sentences."""
    subtitles: CueRules = USUAL
    on_chunk_failure: OnChunkFailure = "fail"
    """What becomes of a sentence at which the engines fail again and again: the job fails, or the original stays."""
    keep_original_track: bool = True
    """Keep the original sound as a second, selectable track."""
    audio_track: int | None = None
    """Which audio track to dub, counted from 0; None takes the default one."""
    stream: bool = False
    """Whether to make a stream of what is dubbed already, to be watched while the rest is made."""
    transcode: bool = False
    """Whether the stream's picture is encoded anew where players do not take it as it is."""
    start_s: float | None = None
    """Where in the file to start, in seconds; None: where it does."""
    end_s: float | None = None
    """Where to end; None: where the file does."""
    burn_in: bool = False
    """Whether to make another file, with the subtitles drawn into the picture."""

    @property
    def result_language(self) -> str:
        """The language of the main result."""
        return self.target_language


class AudioDubbingOptions(_Options, frozen=True, tag="audio-translate"):
    """A dub of the sound alone."""

    target_language: str
    source_language: str | None = None
    voice: str | None = None
    target_languages: tuple[str, ...] = ()
    voices: dict[str, str] = {}
    original_gain_db: float = -24.0
    mute_original: bool = False
    subtitles: CueRules = USUAL
    on_chunk_failure: OnChunkFailure = "fail"
    audio_track: int | None = None
    container: str | None = None
    """What kind of sound file; None takes that of the source where it is one, else M4A."""
    stream: bool = False
    start_s: float | None = None
    end_s: float | None = None

    @property
    def result_language(self) -> str:
        return self.target_language


class CaptionOptions(_Options, frozen=True, tag="subtitle-generate"):
    """What is said, written down as subtitles."""

    source_language: str | None = None
    target_languages: tuple[str, ...] = ()
    """Languages to translate the subtitles into as well."""
    subtitles: CueRules = USUAL
    audio_track: int | None = None
    start_s: float | None = None
    end_s: float | None = None

    @property
    def result_language(self) -> str | None:
        """None while it is not known what is spoken."""
        return self.source_language


class SubtitleOptions(_Options, frozen=True, tag="subtitle-translate"):
    """A subtitle file in other languages."""

    source_language: str
    target_languages: tuple[str, ...]

    @property
    def result_language(self) -> str:
        return self.target_languages[0]


class SpeechOptions(_Options, frozen=True, tag="subtitle-to-audio"):
    """A subtitle file, spoken."""

    target_language: str
    source_language: str
    """The language of the file; when it is not the target's, the file is translated first."""
    voice: str | None = None
    container: str | None = None
    """What kind of sound file; ignored when there is a video."""
    video_upload_id: UUID | None = None
    """A video that gets the speech as its new sound track."""
    original_gain_db: float = -24.0
    mute_original: bool = False
    keep_original_track: bool = True

    @property
    def result_language(self) -> str:
        return self.target_language


JobOptions = DubbingOptions | AudioDubbingOptions | CaptionOptions | SubtitleOptions | SpeechOptions


def seconds_of(options: JobOptions, length_s: float) -> float:
    """How much of a file of this length a job takes."""
    if not isinstance(options, DubbingOptions | AudioDubbingOptions | CaptionOptions):
        return length_s
    end_s = length_s if options.end_s is None else min(options.end_s, length_s)
    return max(end_s - (options.start_s or 0.0), 0.0)


def dubbed_languages(options: JobOptions) -> tuple[str, ...]:
    """The languages that a job speaks, each of which is charged; one where it speaks none."""
    if isinstance(options, DubbingOptions | AudioDubbingOptions):
        return options.target_languages or (options.target_language,)
    return (options.result_language or "",)


class Artifact(msgspec.Struct, frozen=True):
    """One file that a job made."""

    name: str
    """`dub.mp4`, `source.srt`, `target.vtt` …: unique within the job."""
    key: str
    """Where it lies in the object store."""
    content_type: str
    size: int
    sha256: str


class Job(msgspec.Struct, frozen=True):
    """One row of table `job`."""

    id: UUID
    owner_id: UUID
    """An account, or a team: who pays for it and whose it is."""
    kind: JobKind
    status: JobStatus
    upload_id: UUID
    options: JobOptions
    created_at: datetime
    submitted_at: datetime | None = None
    """When `process` was called; only then may a worker claim it."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    epoch: int = 0
    """Rises with every claim; a write under an older epoch changes nothing."""
    cancel_requested: bool = False
    phase: str | None = None
    percent: float = 0.0
    stages: dict[str, StageCount] = {}
    error_code: str | None = None
    error_message: str | None = None
    warnings: list[str] = []
    report: dict[str, Any] = {}
    """Figures of the finished dub: shares of segments that fit, were stretched, and so on."""
    artifacts: list[Artifact] = []
    last_seq: int = 0
    """Sequence number of its newest event."""
    created_by: UUID | None = None
    """The account that asked for it; None when it is gone, which only happens in a team."""
    version: int = 0
    """Of its results: the newest that is finished; 0 where there is none that could be edited."""

    @property
    def team_id(self) -> UUID | None:
        """The team that owns it, if one does: only people own what they made themselves."""
        return None if self.owner_id == self.created_by else self.owner_id


class JobFilter(msgspec.Struct, frozen=True):
    """Which jobs of a history are wanted; None: all."""

    kind: JobKind | None = None
    status: JobStatus | None = None
    target_language: str | None = None
    """Jobs into this language, also beside others."""
    since: datetime | None = None
    """Created at this time or later; with a time zone, as `until`."""
    until: datetime | None = None
    """Created before."""
    text: str | None = None
    """Part of the upload's name, in any case."""
    tag: str | None = None


class JobOrigin(msgspec.Struct, frozen=True):
    """Which requests a run of a job comes from: under these ids logs and traces know it."""

    request_id: str | None = None
    """Of the request to process it."""
    created_request_id: str | None = None
    """Of the request that created it."""
    traceparent: str | None = None
    """Of the request to process it, as W3C writes it."""


class Claim(msgspec.Struct, frozen=True):
    """A worker's right to a job, until the lease ends by the database's clock."""

    job: Job
    worker_id: str
    epoch: int
    attempt: int
    """1 for the first worker that takes the job."""
    origin: JobOrigin = JobOrigin()
