"""Versions of a dub: the first, and one for each edit. Postgres says what there is, the object store holds it."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from octavia_stream.database.pool import Connection, Database
from octavia_stream.dubbing.edits import Edit
from octavia_stream.dubbing.manuscript import Manuscript
from octavia_stream.errors import Conflict, NotFound
from octavia_stream.jobs import queries
from octavia_stream.jobs.job import Artifact, Job
from octavia_stream.languages import Language
from octavia_stream.storage.objects import ObjectStore

Spans = dict[Language, list[tuple[float, float]]]
"""Of each dub the parts that an edit is about: start and end in seconds."""
MANUSCRIPT = "manuscript.msgpack"
_WITHOUT = "No segments are kept of this job: dubs and spoken subtitles have them, those made since they are kept."
_LATER = "its segments are there when it has completed."
_SPANS = "select spans from job_version where job_id = $1 and finished_at is null"


class JobVersion(msgspec.Struct, frozen=True):
    """One row of table `job_version`."""

    job_id: UUID
    number: int
    """Counts from 1."""
    base: int | None
    """The version that was edited; None: this is the first."""
    edits: list[Edit]
    spans: Spans
    created_at: datetime
    finished_at: datetime | None
    """None while it is made, and when that failed or was cancelled."""
    manuscript: Artifact | None
    artifacts: list[Artifact]
    report: dict[str, Any]


class JobVersions:
    """What versions jobs have. All methods raise DependencyUnavailable while Postgres is away."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects

    async def get(self, job_id: UUID, number: int) -> JobVersion:
        """Raises NotFound."""
        row = await self._database.fetchrow(queries.VERSION, job_id, number)
        if row is None:
            raise NotFound(f"The job has no version {number}.")
        return msgspec.convert(dict(row), JobVersion)

    async def list_versions(self, job_id: UUID, limit: int) -> list[JobVersion]:
        """Newest first."""
        rows = await self._database.fetch(queries.VERSIONS, job_id, limit)
        return [msgspec.convert(dict(row), JobVersion) for row in rows]

    async def under_way(self, job_id: UUID) -> JobVersion | None:
        """The edit that is to be made."""
        row = await self._database.fetchrow(queries.VERSION_UNDER_WAY, job_id)
        return None if row is None else msgspec.convert(dict(row), JobVersion)

    async def manuscript(self, job: Job, number: int | None = None) -> tuple[int, Manuscript]:
        """What is said in a finished version, the newest by default. Raises NotFound, Conflict, StorageUnavailable."""
        if not job.version:
            raise Conflict(_WITHOUT if job.status == "completed" else f"The job is {job.status}; {_LATER}")
        version = await self.get(job.id, job.version if number is None else number)
        if version.manuscript is None:
            raise Conflict(f"Version {version.number} is not finished.")
        content = await self._objects.get(version.manuscript.key)
        return version.number, msgspec.msgpack.decode(content, type=Manuscript)


async def spans_under_way(connection: Connection, job_id: UUID) -> Spans | None:
    """What the edit is about that a job was submitted for; None: it was submitted to be dubbed."""
    spans = await connection.fetchval(_SPANS, job_id)
    return None if spans is None else msgspec.convert(spans, Spans)
