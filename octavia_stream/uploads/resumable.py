"""Uploads that come in pieces, in Postgres: how far each has come, and where its pieces lie.

The offset rises only in the transaction that records the piece, which lies in the object store by then: whoever is
killed in between has lost that piece and nothing else.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.database.pool import Connection, Database, Row
from octavia_stream.errors import Conflict, InvalidRequest, NotFound
from octavia_stream.quotas.quotas import UPLOAD_OPEN_H, Quotas
from octavia_stream.uploads.upload import display_name

MAX_PARTS = 10_000
FINISHING_S = 60.0
"""How long whoever puts an upload together may give no sign of life."""

_COLUMNS = """
id, owner_id, created_by, filename, file_type, metadata, size, received, created_at, expires_at, refusal
"""
_OPEN = f"""
insert into resumable_upload (id, owner_id, created_by, filename, file_type, metadata, size, expires_at)
values ($1, $2::uuid, coalesce($3, $2::uuid), $4, $5, $6, $7, now() + make_interval(hours => $8)) returning {_COLUMNS}
"""  # noqa: S608  (constants of this file)
_GET = f"""
select {_COLUMNS} from resumable_upload where id = $1 and owner_id = $2 and expires_at > now()
"""  # noqa: S608
_ADVANCE = """
update resumable_upload set received = $3 where id = $1 and received = $2 and refusal is null and expires_at > now()
returning (select count(*) from resumable_part where upload_id = $1) as parts
"""
_ADD_PARTS = """
insert into resumable_part (upload_id, start, size, key)
select $1, start, size, key from unnest($2::bigint[], $3::bigint[], $4::text[]) as part (start, size, key)
"""
_PARTS = "select start, size, key from resumable_part where upload_id = $1 order by start"
_CLAIM = """
update resumable_upload set finishing_until = now() + make_interval(secs => $2)
where id = $1 and received = size and refusal is null and coalesce(finishing_until <= now(), true) returning id
"""
_STILL_AT_IT = "update resumable_upload set finishing_until = now() + make_interval(secs => $2) where id = $1"
_LET_GO = "update resumable_upload set finishing_until = null where id = $1"
# Its pieces go also when whoever refuses it does not get to that.
_REFUSE = """
with refused as (update resumable_upload set refusal = $2, finishing_until = null where id = $1 returning id)
insert into object_removal (key, is_prefix) select 'tus/' || id, true from refused on conflict do nothing
"""
_DELETE = "delete from resumable_upload where id = $1 returning id"
_DELETE_OWN = "delete from resumable_upload where id = $1 and owner_id = $2 returning id"
_DELETE_EXPIRED = """
delete from resumable_upload where id in (select id from resumable_upload where expires_at <= now() limit $1)
returning id
"""


class ResumableUpload(msgspec.Struct, frozen=True):
    """One row of table `resumable_upload`."""

    id: UUID
    """Also of the upload that it becomes."""
    owner_id: UUID
    created_by: UUID | None
    filename: str
    file_type: str
    metadata: str
    """As the client sent it."""
    size: int
    """What was announced, in bytes."""
    received: int
    created_at: datetime
    expires_at: datetime
    refusal: str | None = None
    """Why nothing can be done with the file; its bytes are gone then."""

    @property
    def is_whole(self) -> bool:
        return self.received == self.size


class Part(msgspec.Struct, frozen=True):
    """One piece of an upload, in the object store."""

    start: int
    size: int
    key: str

    @property
    def end(self) -> int:
        return self.start + self.size


class ResumableUploads:
    """Methods raise DependencyUnavailable while Postgres is away."""

    def __init__(self, database: Database, quotas: Quotas) -> None:
        self._database = database
        self._quotas = quotas

    async def open(
        self, upload_id: UUID, owner_id: UUID, filename: str, file_type: str, metadata: str, size: int,
        *, created_by: UUID | None = None
    ) -> ResumableUpload:  # fmt: skip
        """Begin an upload of `size` bytes. Raises QuotaExceeded."""
        async with self._database.transaction() as connection:
            await self._quotas.open_upload(connection, owner_id, upload_id, size)
            row = await connection.fetchrow(
                _OPEN, upload_id, owner_id, created_by, display_name(filename), file_type, metadata, size, UPLOAD_OPEN_H
            )
        crash_point(CrashPoint.UPLOAD_OPENED)
        return _upload(row)

    async def get(self, upload_id: UUID, owner_id: UUID) -> ResumableUpload:
        """Raises NotFound: also when it has expired, is finished, or another owner's."""
        return _upload(await self._database.fetchrow(_GET, upload_id, owner_id))

    async def record(self, upload_id: UUID, parts: Sequence[Part]) -> None:
        """These pieces, which follow each other, have come. Raises Conflict when the upload is not where they start.

        Raises InvalidRequest when there are too many of them.
        """
        async with self._database.transaction() as connection:
            count = await connection.fetchval(_ADVANCE, upload_id, parts[0].start, parts[-1].end)
            if count is None:
                raise Conflict("Something else was added to this upload meanwhile; ask where it is and go on there.")
            if count + len(parts) > MAX_PARTS:
                raise InvalidRequest("The pieces are too small for a file of this size; send larger ones.")
            columns = [part.start for part in parts], [part.size for part in parts], [part.key for part in parts]
            await connection.execute(_ADD_PARTS, upload_id, *columns)
        crash_point(CrashPoint.PIECE_RECORDED)

    async def parts(self, upload_id: UUID) -> list[Part]:
        """All pieces, in order."""
        return [msgspec.convert(dict(row), Part) for row in await self._database.fetch(_PARTS, upload_id)]

    async def claim(self, upload_id: UUID) -> bool:
        """Become the one who puts a whole upload together; False when another is at it, or it is done."""
        return await self._database.fetchval(_CLAIM, upload_id, FINISHING_S) is not None

    async def still_at_it(self, upload_id: UUID) -> None:
        """A sign of life of the one who claimed it."""
        await self._database.execute(_STILL_AT_IT, upload_id, FINISHING_S)

    async def let_go(self, upload_id: UUID) -> None:
        """It could not be put together just now; another may try."""
        await self._database.execute(_LET_GO, upload_id)

    async def refuse(self, upload_id: UUID, reason: str) -> None:
        """The file is of no use. It stays known until it expires, so that the client can learn why."""
        async with self._database.transaction() as connection:
            await self._quotas.close_upload(connection, upload_id)
            await connection.execute(_REFUSE, upload_id, reason)
        crash_point(CrashPoint.UPLOAD_REFUSED)

    async def close(self, connection: Connection, upload_id: UUID) -> None:
        """Within the transaction that records the upload it has become. Raises Conflict when another has done that."""
        if await connection.fetchval(_DELETE, upload_id) is None:
            raise Conflict("This upload is finished already, or was given up.")
        await self._quotas.close_upload(connection, upload_id)

    async def delete(self, upload_id: UUID, owner_id: UUID) -> None:
        """Give an unfinished upload up. Raises NotFound."""
        async with self._database.transaction() as connection:
            if await connection.fetchval(_DELETE_OWN, upload_id, owner_id) is None:
                raise NotFound("There is no such upload, or it is not yours.")
            await self._quotas.close_upload(connection, upload_id)
        crash_point(CrashPoint.UPLOAD_GIVEN_UP)

    async def delete_expired(self, limit: int) -> list[UUID]:
        """Forget uploads whose time is over."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_DELETE_EXPIRED, limit)
            for row in rows:
                await self._quotas.close_upload(connection, row["id"])
        if rows:
            crash_point(CrashPoint.UPLOADS_LAPSED)
        return [row["id"] for row in rows]


def parts_prefix(upload_id: UUID) -> str:
    """Below which the pieces of an upload lie."""
    return f"tus/{upload_id}"


def _upload(row: Row | None) -> ResumableUpload:
    if row is None:
        raise NotFound("There is no such upload, or it is not yours.")
    return msgspec.convert(dict(row), ResumableUpload)
