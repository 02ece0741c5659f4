"""What can happen to a job, as a tagged union on the wire.

Every event of a job has a sequence number that counts from 1 without gaps; it is the
`id` of Server-Sent Events, the resume point of WebSockets and the key of the Redis entry.
Times are seconds on the media's timeline. Transcripts are personal: they travel in events
to the job's owner and never in logs.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

Phase = Literal["TRANSCRIBING", "TRANSLATING", "SYNTHESIZING", "ASSEMBLING"]


class StageCount(msgspec.Struct, frozen=True):
    """How far one stage is. `total` grows while the file is still being cut; `final` says it no longer will."""

    done: int = 0
    total: int = 0
    final: bool = False


class Submitted(msgspec.Struct, frozen=True, tag="submitted"):
    """The job waits for a worker."""

    version: int = 1
    """Of the results that are to be made: above 1 when a finished dub was edited."""


class Started(msgspec.Struct, frozen=True, tag="started"):
    """A worker took the job. `attempt` is above 1 when an earlier worker was lost."""

    attempt: int


class Analysed(msgspec.Struct, frozen=True, tag="analysed"):
    """What the file holds is known."""

    duration_s: float
    source_language: str
    target_language: str
    voice: str


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Counts per stage; `percent` never falls while a version is made. At most four a second."""

    phase: Phase
    percent: float
    stages: dict[str, StageCount]
    remaining_s: float | None = None
    """Estimated wall time left; None while nothing is known."""


class SegmentDubbed(msgspec.Struct, frozen=True, tag="segment"):
    """One sentence is spoken and fitted."""

    index: int
    start_s: float
    end_s: float
    source: str
    text: str
    language: str = ""
    """Of `text`; one job may speak several."""


class Warned(msgspec.Struct, frozen=True, tag="warning"):
    """Something is not as asked, and the job goes on."""

    code: str
    message: str


QualityCheck = Literal["coverage", "overlaps", "inside", "stretched", "overrun", "loudness", "language", "words"]


class QualityFinding(msgspec.Struct, frozen=True):
    """One figure of a dub that is not as the server's settings want it."""

    language: str
    """Which dub."""
    check: QualityCheck
    value: float | str
    limit: float | str
    message: str


class QualityWarned(msgspec.Struct, frozen=True, tag="quality"):
    """The job ended well, and its result is not as good as it should be; told just before `completed`."""

    failed: list[QualityFinding]


class ArtifactReady(msgspec.Struct, frozen=True, tag="artifact"):
    """A result can be downloaded."""

    name: str
    content_type: str
    size: int


class StreamReady(msgspec.Struct, frozen=True, tag="stream"):
    """What is dubbed already can be watched. Told again when a worker was lost: then a new stream begins."""

    picture: bool
    """False when there is sound alone."""


class Completed(msgspec.Struct, frozen=True, tag="completed"):
    """The job ended well."""

    version: int = 1
    """Of the results that are there now."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The job ended without a result."""

    code: str
    message: str
    retryable: bool


class Cancelled(msgspec.Struct, frozen=True, tag="cancelled"):
    """The job was cancelled."""


JobEvent = (
    Submitted
    | Started
    | Analysed
    | Progress
    | SegmentDubbed
    | Warned
    | ArtifactReady
    | StreamReady
    | QualityWarned
    | Completed
    | Failed
    | Cancelled
)

TERMINAL_EVENTS = (Completed, Failed, Cancelled)


class OwnerEventRecord(msgspec.Struct, frozen=True):
    """One event among those of all jobs of an owner: a `JobEventRecord` with the job, and its number among them all."""

    id: int
    """Rises with every event of the owner's; events of deleted jobs leave gaps."""
    job_id: UUID
    seq: int
    at: datetime
    event: JobEvent


class JobEventRecord(msgspec.Struct, frozen=True):
    """One event of one job, as stored and sent: `{"seq": 7, "at": "…", "event": {"type": "progress", …}}`."""

    seq: int
    at: datetime
    event: JobEvent
