"""A job and what may become of it."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from octavia_stream.events.event import StageCount

JobKind = Literal["video-translate"]
JobStatus = Literal["pending", "processing", "completed", "failed", "cancelled"]
TERMINAL: frozenset[JobStatus] = frozenset({"completed", "failed", "cancelled"})


class DubbingOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the user asked of a dub; stored with the job as JSON."""

    target_language: str
    source_language: str | None = None
    """None lets the model detect it."""
    voice: str | None = None
    """A voice of the catalogue; None takes the first of the target language."""
    original_gain_db: float = -24.0
    """How loud the original stays under the dubbed voice, in dB relative to itself."""
    keep_original_track: bool = True
    """Keep the original sound as a second, selectable track."""
    audio_track: int | None = None
    """Which audio track to dub, counted from 0; None takes the default one."""


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
    kind: JobKind
    status: JobStatus
    upload_id: UUID
    options: DubbingOptions
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


class Claim(msgspec.Struct, frozen=True):
    """A worker's right to a job, until the lease ends by the database's clock."""

    job: Job
    worker_id: str
    epoch: int
    attempt: int
    """1 for the first worker that takes the job."""
