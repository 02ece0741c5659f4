"""The recording of a live session, joined into an upload: from there on it is a file like any other."""

import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.database.pool import Connection, Database
from octavia_stream.errors import Conflict, NotFound
from octavia_stream.runtime import Runtime
from octavia_stream.sessions.recorder import recording_prefix
from octavia_stream.sessions.session import LiveSession
from octavia_stream.storage.objects import ObjectStore
from octavia_stream.uploads.arrival import receive
from octavia_stream.uploads.upload import Upload

_BLOCK = 10 * ASR_RATE_HZ
_SAMPLE_BYTES = 2
_WAV = struct.Struct("<4sI4s4sIHHIIHH4sI")
_LONGEST_BYTES = 0xFFFF_FFFF - _WAV.size
"""What a WAV file can say of its length: 37 hours."""

_JOINED = "select upload_id from live_recording where session_id = $1"
_JOIN = """
insert into live_recording (session_id, upload_id) values ($1, $2) on conflict do nothing returning upload_id
"""
_LET_GO = "insert into object_removal (key, is_prefix) values ($1, true) on conflict do nothing"
# Their files go with whatever removes objects next.
_LET_GO_OF_OWNERS = """
insert into object_removal (key, is_prefix)
select 'live/' || id, true from live_session where owner_id = any($1::uuid[]) and (options ->> 'record')::boolean
on conflict do nothing
"""
_EXPIRE = """
with old as (
    insert into live_recording (session_id)
    select id from live_session session
    where $1::int > 0 and (options ->> 'record')::boolean and ended_at < now() - make_interval(days => $1)
        and not exists (select from live_recording where session_id = session.id)
    returning session_id
)
insert into object_removal (key, is_prefix) select 'live/' || session_id, true from old on conflict do nothing
"""


class Recordings:
    """Methods raise DependencyUnavailable while Postgres is away, StorageUnavailable while the storage is."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def upload(self, session: LiveSession, asked_by: UUID) -> Upload:
        """The recording as an upload of the session's owner; the same one however often it is asked for.

        Speakers are mixed. Raises Conflict before the session has ended, NotFound when it was not recorded, nothing
        was said, or the recording is gone; QuotaExceeded, StorageFull.
        """
        if not session.options.record:
            raise NotFound("This session was not recorded; ask for that with `record` when you create one.")
        if session.status != "ended":
            raise Conflict("The session still goes on; its recording is whole when it has ended.")
        runtime = self._runtime
        if (row := await runtime.pool.fetchrow(_JOINED, session.id)) is not None:
            return await self._earlier(row["upload_id"], session)
        parts = await _parts(runtime.objects, session.id)
        if not parts:
            raise NotFound("Nothing was said in this session.")
        name = f"live {session.created_at:%Y-%m-%d %H.%M}.wav"
        upload = await receive(runtime, session.owner_id, "audio", name, _wav(runtime.objects, parts), asked_by)
        crash_point(CrashPoint.RECORDING_JOINED)
        async with runtime.pool.transaction() as connection:
            joined = await connection.fetchval(_JOIN, session.id, upload.id)
            if joined is not None:
                await connection.execute(_LET_GO, recording_prefix(session.id))
        if joined is None:
            # Somebody asked at the same time and was faster.
            await runtime.uploads.delete(upload.id, upload.owner_id)
            await runtime.objects.delete(upload.key)
            return await self.upload(session, asked_by)
        return upload

    async def _earlier(self, upload_id: UUID | None, session: LiveSession) -> Upload:
        if upload_id is None:
            raise NotFound("The recording of this session is gone.")
        return await self._runtime.uploads.get(upload_id, session.owner_id)


async def let_go_of_owners(connection: Connection, owners: Sequence[UUID]) -> None:
    """Have the recordings of accounts and teams removed that go in this transaction."""
    await connection.execute(_LET_GO_OF_OWNERS, owners)


async def expire(database: Database, days: int) -> None:
    """Have recordings removed that nobody asked for in so many days after the session. 0 keeps them."""
    await database.execute(_EXPIRE, days)


@dataclass(frozen=True, slots=True)
class _Part:
    key: str
    start: int
    end: int


async def _parts(objects: ObjectStore, session_id: UUID) -> list[_Part]:
    """In order of time; positions begin with the first thing that was said."""
    found = []
    async for listed in objects.list(recording_prefix(session_id)):
        start = int(listed.key.rpartition("/")[2].removesuffix(".pcm"))
        found.append(_Part(listed.key, start, start + listed.size // _SAMPLE_BYTES))
    first = min((part.start for part in found), default=0)
    return sorted((_Part(one.key, one.start - first, one.end - first) for one in found), key=lambda part: part.start)


async def _wav(objects: ObjectStore, parts: Sequence[_Part]) -> AsyncIterator[bytes]:
    """All speakers together, silence where nobody spoke; at most some parts are in memory at a time."""
    length = min(max(part.end for part in parts), _LONGEST_BYTES // _SAMPLE_BYTES)
    yield _header(length)
    waiting, open_parts = list(reversed(parts)), list[tuple[_Part, NDArray[np.int16]]]()
    for start in range(0, length, _BLOCK):
        end = min(start + _BLOCK, length)
        while waiting and waiting[-1].start < end:
            part = waiting.pop()
            open_parts.append((part, np.frombuffer(await objects.get(part.key), "<i2")))
        mixed = np.zeros(end - start, np.int32)
        for part, samples in open_parts:
            first, last = max(part.start, start), min(part.end, end)
            mixed[first - start : last - start] += samples[first - part.start : last - part.start]
        open_parts = [(part, samples) for part, samples in open_parts if part.end > end]
        yield np.clip(mixed, -32768, 32767).astype("<i2").tobytes()


def _header(length: int) -> bytes:
    data = length * _SAMPLE_BYTES
    rate = ASR_RATE_HZ
    fmt = (b"fmt ", 16, 1, 1, rate, rate * _SAMPLE_BYTES, _SAMPLE_BYTES, 16)
    return _WAV.pack(b"RIFF", _WAV.size - 8 + data, b"WAVE", *fmt, b"data", data)
