"""What has served its time goes: ended jobs with all they made, uploads that nothing uses, old keys."""

import asyncio
from contextlib import suppress
from datetime import datetime

import msgspec
import structlog

from octavia_stream.config import RetentionSettings
from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.database.pool import Database
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import Conflict, NotFound, OctaviaError
from octavia_stream.jobs import queries
from octavia_stream.jobs.idempotency import IdempotencyKeys
from octavia_stream.jobs.postgres import PostgresJobStore
from octavia_stream.sessions.recording import expire
from octavia_stream.storage.objects import ObjectStore
from octavia_stream.telemetry.metrics import RETENTION_FREED_BYTES, RETENTION_REMOVED
from octavia_stream.uploads.store import UploadStore
from octavia_stream.uploads.sweeping import UploadSweep

INTERVAL_S = 3600.0
AT_ONCE = 100
"""Rows looked at together."""
_LOCK = 0x0C7A_C1EA  # any number, as long as it is ours alone in the database
_TRY_LOCK = "select pg_try_advisory_lock($1)"
_UNLOCK = "select pg_advisory_unlock($1)"
# 0 days keep everything.
_DUE_UPLOADS = """
select count(*) as uploads, count(*) as objects, coalesce(sum(size), 0)::bigint as bytes from upload
where $1::int > 0 and created_at < now() - make_interval(days => $1) and not exists (
    select from job where job.owner_id = upload.owner_id
        and (job.upload_id = upload.id or job.options ->> 'video_upload_id' = upload.id::text)
)
"""
_CLEANED = "insert into cleaning (id, jobs, uploads, objects, bytes) values ($1, $2, $3, $4, $5)"
_CLEANINGS = "select at, jobs, uploads, objects, bytes from cleaning order by id desc limit $1"

log = structlog.get_logger()


class Freed(msgspec.Struct, frozen=True):
    """What was removed."""

    jobs: int = 0
    uploads: int = 0
    objects: int = 0
    bytes: int = 0


class Cleaning(msgspec.Struct, frozen=True):
    """One row of table `cleaning`."""

    at: datetime
    jobs: int
    uploads: int
    objects: int
    bytes: int


class Cleaner:
    """Removes what the settings say, one process of all at a time. It never touches a job that waits or runs."""

    def __init__(
        self,
        database: Database,
        jobs: PostgresJobStore,
        uploads: UploadStore,
        objects: ObjectStore,
        settings: RetentionSettings,
        sweep: UploadSweep | None = None,
    ) -> None:
        """sweep: of uploads that were never finished."""
        self._database = database
        self._jobs = jobs
        self._uploads = uploads
        self._objects = objects
        self._settings = settings
        self._sweep = sweep
        self._keys = IdempotencyKeys(database)
        self._asked = asyncio.Event()

    async def run(self, interval_s: float = INTERVAL_S) -> None:
        """Clean again and again, until cancelled; whatever is away is tried again the next time."""
        while True:
            try:
                await self.clean()
            except OctaviaError as error:
                log.warning("cleaning_failed", reason=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await self._asked.wait()
            self._asked.clear()

    def hurry(self) -> None:
        """Let `run` clean now."""
        self._asked.set()

    async def due(self) -> Freed:
        """What `clean` would remove now; of jobs only their results count, so it is rather more."""
        days, by_tier = self._settings.results_days, self._settings.results_days_by_tier
        jobs = await self._database.fetchrow(queries.DUE, days, dict(by_tier))
        uploads = await self._database.fetchrow(_DUE_UPLOADS, self._settings.uploads_days)
        of_jobs = Freed(**dict(jobs)) if jobs is not None else Freed()
        of_uploads = Freed(**dict(uploads)) if uploads is not None else Freed()
        objects = of_jobs.objects + of_uploads.objects
        return Freed(of_jobs.jobs, of_uploads.uploads, objects, of_jobs.bytes + of_uploads.bytes)

    async def cleanings(self, limit: int) -> list[Cleaning]:
        """When something was removed, newest first."""
        return [msgspec.convert(dict(row), Cleaning) for row in await self._database.fetch(_CLEANINGS, limit)]

    async def clean(self) -> Freed | None:
        """Remove everything whose time is over; None when another process is at it.

        Raises DependencyUnavailable, StorageUnavailable; what was removed until then stays so.
        """
        async with self._database.connection() as connection:
            if not await connection.fetchval(_TRY_LOCK, _LOCK):
                return None
            try:
                await self._keys.forget_old()
                of_jobs = await self._clean_jobs()
                of_uploads = await self._clean_uploads(self._settings.uploads_days)
                await expire(self._database, self._settings.uploads_days)
                if self._sweep is not None:
                    await self._sweep.sweep()
            finally:
                await connection.fetchval(_UNLOCK, _LOCK)
        freed = Freed(
            of_jobs.jobs,
            of_uploads.uploads,
            of_jobs.objects + of_uploads.objects,
            of_jobs.bytes + of_uploads.bytes,
        )
        RETENTION_FREED_BYTES.inc(freed.bytes)
        RETENTION_REMOVED.labels("jobs").inc(freed.jobs)
        RETENTION_REMOVED.labels("uploads").inc(freed.uploads)
        if freed.jobs or freed.uploads:
            await self._database.execute(_CLEANED, uuid7(), freed.jobs, freed.uploads, freed.objects, freed.bytes)
            log.info("cleaned", jobs=freed.jobs, uploads=freed.uploads, objects=freed.objects, bytes=freed.bytes)
        return freed

    async def _clean_jobs(self) -> Freed:
        jobs = objects = size = 0
        days, by_tier = self._settings.results_days, self._settings.results_days_by_tier
        while expired := await self._jobs.expired(days, AT_ONCE, by_tier):
            for job_id in expired:
                if not await self._jobs.delete_expired(job_id, days, by_tier):
                    continue
                crash_point(CrashPoint.EXPIRED_JOB_FORGOTTEN)
                jobs += 1
                async for listed in self._objects.list(f"jobs/{job_id}"):
                    objects += 1
                    size += listed.size
                await self._objects.delete_prefix(f"jobs/{job_id}")
        return Freed(jobs=jobs, objects=objects, bytes=size)

    async def _clean_uploads(self, days: int) -> Freed:
        uploads = size = 0
        while days and (expired := await self._uploads.expired(days, AT_ONCE)):
            for upload in expired:
                try:
                    await self._uploads.delete(upload.id, upload.owner_id)
                except (Conflict, NotFound):
                    # It was used or deleted since it was found.
                    continue
                crash_point(CrashPoint.EXPIRED_UPLOAD_FORGOTTEN)
                await self._objects.delete(upload.key)
                uploads += 1
                size += upload.size
        return Freed(uploads=uploads, objects=uploads, bytes=size)
