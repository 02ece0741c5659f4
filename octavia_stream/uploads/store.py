"""Uploads in Postgres; their bytes are in the object store."""

from typing import Any
from uuid import UUID

import msgspec

from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.database.pool import Database, Row
from octavia_stream.errors import Conflict, NotFound
from octavia_stream.quotas.quotas import Quotas
from octavia_stream.telemetry.metrics import UPLOADED_BYTES
from octavia_stream.uploads.resumable import ResumableUploads
from octavia_stream.uploads.upload import Upload, display_name

_UPLOAD = "id, owner_id, filename, content_type, size, sha256, key, created_at, media_info, created_by"
_ADD = f"""
insert into upload (id, owner_id, filename, content_type, size, sha256, key, media_info, created_by)
select $1, tenant.id, $3, $4, $5, $6, $7, $8, coalesce($9::uuid, tenant.id) from tenant where tenant.id = $2
for key share returning {_UPLOAD}
"""  # noqa: S608  (constants of this file)
_GET = f"select {_UPLOAD} from upload where id = $1 and owner_id = $2"  # noqa: S608
_LIST = f"""
select {_UPLOAD} from upload where owner_id = $1 and ($3::uuid is null or id < $3) order by id desc limit $2
"""  # noqa: S608
# Its jobs keep it: the one file they are made of, or the video that they speak over.
_LOCK = f"select {_UPLOAD} from upload where id = $1 and owner_id = $2 for update"  # noqa: S608
_IS_USED = """
select exists (select from job where owner_id = $2 and (upload_id = $1 or options ->> 'video_upload_id' = $1::text))
"""
_DELETE = "delete from upload where id = $1"
_GIVE = f"update upload set owner_id = $2 where id = $1 returning {_UPLOAD}"  # noqa: S608
_EXPIRED = f"""
select {_UPLOAD} from upload where created_at < now() - make_interval(days => $1)
    and not exists (
        select from job where job.owner_id = upload.owner_id
            and (job.upload_id = upload.id or job.options ->> 'video_upload_id' = upload.id::text)
    )
order by created_at limit $2
"""  # noqa: S608
_MEDIA_INFO = "update upload set media_info = $2 where id = $1"


class UploadStore:
    """What users brought. Methods raise DependencyUnavailable while Postgres is away."""

    def __init__(self, database: Database, quotas: Quotas | None = None) -> None:
        """quotas: what owners may store; None: anything."""
        self._database = database
        self._quotas = quotas

    async def add(
        self,
        upload_id: UUID,
        owner_id: UUID,
        filename: str,
        content_type: str,
        *,
        size: int,
        sha256: str,
        key: str,
        media_info: dict[str, Any] | None = None,
        created_by: UUID | None = None,
        completes: ResumableUploads | None = None,
    ) -> Upload:
        """Record a file that lies in the object store already. The name is made fit to show.

        completes: where it was an upload in pieces, under the same id, until now.
        Raises QuotaExceeded, and Conflict when another has recorded it.
        """
        async with self._database.transaction() as connection:
            if completes is not None:
                await completes.close(connection, upload_id)
            if self._quotas is not None:
                await self._quotas.admit_upload(connection, owner_id, size)
            row = await connection.fetchrow(
                _ADD,
                upload_id,
                owner_id,
                display_name(filename),
                content_type,
                size,
                sha256,
                key,
                media_info,
                created_by,
            )
        crash_point(CrashPoint.UPLOAD_RECORDED)
        if row is None:
            raise NotFound("The account or team that this file was for is gone.")
        upload = _upload(row)
        kind = content_type.partition("/")[0]
        UPLOADED_BYTES.labels(kind if kind in ("audio", "video", "text") else "other").inc(size)
        return upload

    async def get(self, upload_id: UUID, owner_id: UUID) -> Upload:
        """Raises NotFound, also for another owner's upload."""
        return _upload(await self._database.fetchrow(_GET, upload_id, owner_id))

    async def list_uploads(self, owner_id: UUID, limit: int, before: UUID | None = None) -> list[Upload]:
        """Newest first; `before` is the last id of the page before."""
        return [_upload(row) for row in await self._database.fetch(_LIST, owner_id, limit, before)]

    async def delete(self, upload_id: UUID, owner_id: UUID) -> Upload:
        """Forget a file; returns what it was, for its bytes are still there. Raises NotFound, Conflict when in use."""
        async with self._database.transaction() as connection:
            upload = _upload(await connection.fetchrow(_LOCK, upload_id, owner_id))
            # Whoever makes a job of it waits for the lock, or was seen.
            if await connection.fetchval(_IS_USED, upload_id, owner_id):
                raise Conflict("Jobs were made of this upload; delete those first.")
            await connection.execute(_DELETE, upload_id)
        crash_point(CrashPoint.UPLOAD_FORGOTTEN)
        return upload

    async def give(self, upload_id: UUID, owner_id: UUID, to: UUID) -> Upload:
        """Make it another owner's, such as a team's. Raises NotFound, QuotaExceeded, and Conflict when jobs use it."""
        async with self._database.transaction() as connection:
            upload = _upload(await connection.fetchrow(_LOCK, upload_id, owner_id))
            if await connection.fetchval(_IS_USED, upload_id, owner_id):
                raise Conflict("Jobs were made of this upload; delete those first, or upload the file again.")
            if self._quotas is not None:
                await self._quotas.admit_upload(connection, to, upload.size)
            return _upload(await connection.fetchrow(_GIVE, upload_id, to))

    async def expired(self, days: int, limit: int) -> list[Upload]:
        """Uploads older than `days` days that no job uses, oldest first."""
        return [_upload(row) for row in await self._database.fetch(_EXPIRED, days, limit)]

    async def set_media_info(self, upload_id: UUID, media_info: dict[str, Any]) -> None:
        """Keep what the probe found."""
        await self._database.execute(_MEDIA_INFO, upload_id, media_info)


def _upload(row: Row | None) -> Upload:
    if row is None:
        raise NotFound("There is no such upload, or it is not yours.")
    return msgspec.convert(dict(row), Upload)
