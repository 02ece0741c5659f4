"""Where kept results lie: rows in Postgres, and what is large in the object store.

Nothing that a death leaves belongs to nothing. The key of an object is put down as to be removed before it is written,
and taken off that list with the row that names it; a row that goes puts its key there again (a trigger). Whoever
removes what is on the list, and that is done by every api when it starts, removes what was left half done.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.database.pool import Database, Row
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.errors import NotFound
from octavia_stream.storage.objects import ObjectStore

PREFIX = "cache"
INLINE_BYTES = 8 * 1024
"""Smaller results lie in their row: a translated sentence, the words of a chunk. An object each would cost more."""
ROW_BYTES = 256
"""What a row takes beside its payload, about."""
OBJECTS_AT_ONCE = 8
EVICTED_AT_ONCE = 500
EVICTED_DOWN_TO = 0.95
"""Of the limit: room for some more before the next time."""
_EVICTION_LOCK = 0x0C7A_CAC4  # any number, as long as it is ours alone in the database

# When it was used is known to ten minutes: else each reading would write. Who locks a row uses it too.
_FIND = """
with touched as (
    update cached_result set used_at = now() where digest in (
        select digest from cached_result
        where digest = any($1::text[]) and used_at < now() - interval '10 minutes' for update skip locked
    )
)
select digest, payload, key, sha256 from cached_result where digest = any($1::text[])
"""
_ANNOUNCE = "insert into object_removal (key, is_prefix) select unnest($1::text[]), false"
_OWNERS = "select id from tenant where id = any($1::uuid[]) order by id for key share"
_CLAIM = "delete from object_removal where key = any($1::text[]) returning key"
_ADD = """
insert into cached_result (digest, owner_id, stage, payload, key, sha256, size)
select * from unnest($1::text[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::integer[])
    as added (digest, owner_id, stage, payload, key, sha256, size)
order by digest on conflict do nothing returning digest
"""
_LET_GO = "insert into object_removal (key, is_prefix) select unnest($1::text[]), false on conflict do nothing"
_FORGET_DAMAGED = "delete from cached_result where digest = $1 and key is not distinct from $2"
_TAKEN = "select coalesce(sum(size), 0)::bigint from cached_result"
_TRY_LOCK = "select pg_try_advisory_xact_lock($1)"
# The longest unused, and no more than needed: `$1` bytes.
_EVICT = """
with oldest as (
    select digest, size, sum(size) over (order by used_at, digest) - size as before
    from (
        select digest, size, used_at from cached_result order by used_at, digest limit $2 for update skip locked
    ) few
)
delete from cached_result using oldest
where cached_result.digest = oldest.digest and oldest.before < $1
returning cached_result.key, cached_result.size
"""
_CONTENTS = """
select stage, count(*) as results, sum(size)::bigint as bytes, min(used_at) as longest_unused
from cached_result group by stage order by stage
"""


@dataclass(frozen=True, slots=True)
class NewResult:
    """What an engine made, to be kept."""

    digest: str
    owner_id: UUID | None
    """With whom it goes; None: it is everybody's."""
    stage: Stage
    payload: bytes


class ShelfPart(msgspec.Struct, frozen=True):
    """What is kept of one stage."""

    stage: str
    results: int
    bytes: int
    longest_unused: datetime


class Shelf:
    """Methods raise DependencyUnavailable while Postgres is away, StorageUnavailable or StorageFull of the storage."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects

    async def find(self, digests: Sequence[str]) -> tuple[dict[str, bytes], int]:
        """What is kept under these digests, and how many were damaged or gone, which are forgotten. One round trip."""
        rows = await self._database.fetch(_FIND, digests)
        payloads = await asyncio.gather(*(self._payload(row) for row in rows))
        found = {row["digest"]: payload for row, payload in zip(rows, payloads, strict=True) if payload is not None}
        for row in rows:
            if row["digest"] not in found:
                await self._database.execute(_FORGET_DAMAGED, row["digest"], row["key"])
        return found, len(rows) - len(found)

    async def _payload(self, row: Row) -> bytes | None:
        """None when it is gone or not what was written."""
        payload: bytes | None = row["payload"]
        if payload is None:
            try:
                payload = await self._objects.get(row["key"])
            except NotFound:
                return None
        return payload if await asyncio.to_thread(_sha256, payload) == row["sha256"] else None

    async def add(self, results: Sequence[NewResult]) -> int:
        """Keep results, no digest twice; returns their bytes. Those of owners who are gone, and those that others were
        faster with, are not kept."""
        keys = {one.digest: _new_key(one.digest) for one in results if len(one.payload) > INLINE_BYTES}
        if keys:
            await self._database.execute(_ANNOUNCE, list(keys.values()))
            large = [one for one in results if one.digest in keys]
            for start in range(0, len(large), OBJECTS_AT_ONCE):
                some = large[start : start + OBJECTS_AT_ONCE]
                await asyncio.gather(*(self._objects.put(keys[one.digest], one.payload) for one in some))
            crash_point(CrashPoint.CACHED_RESULT_STORED)
        added = await self._record(results, keys)
        await self._remove([key for digest, key in keys.items() if digest not in added])
        return sum(_size(one) for one in results if one.digest in added)

    async def _record(self, results: Sequence[NewResult], keys: dict[str, str]) -> set[str]:
        """Write the rows, and take what they name off the list of what is to be removed; returns which were new."""
        async with self._database.transaction() as connection:
            owners = [one.owner_id for one in results if one.owner_id is not None]
            # Whoever removes one of them waits for us, or is done.
            there = {row["id"] for row in await connection.fetch(_OWNERS, owners)} if owners else set()
            claimed = {row["key"] for row in await connection.fetch(_CLAIM, list(keys.values()))} if keys else set()
            wanted = [
                one
                for one in results
                if (one.owner_id is None or one.owner_id in there)
                and (one.digest not in keys or keys[one.digest] in claimed)
            ]
            rows = await connection.fetch(_ADD, *_columns(wanted, keys)) if wanted else []
            added = {row["digest"] for row in rows}
            spare = [key for digest, key in keys.items() if digest not in added]
            if spare:
                await connection.execute(_LET_GO, spare)
        return added

    async def taken(self) -> int:
        """Bytes of everything that is kept."""
        return int(await self._database.fetchval(_TAKEN))

    async def evict(self, limit: int) -> int:
        """Let the longest unused go until what is kept is within `limit` bytes; returns the bytes that went.

        Nothing, while another process is at it.
        """
        freed = 0
        if await self.taken() <= limit:
            return 0
        while True:
            async with self._database.transaction() as connection:
                if not await connection.fetchval(_TRY_LOCK, _EVICTION_LOCK):
                    return freed
                beyond = int(await connection.fetchval(_TAKEN)) - int(limit * EVICTED_DOWN_TO)
                rows = await connection.fetch(_EVICT, beyond, EVICTED_AT_ONCE) if beyond > 0 else []
            if not rows:
                return freed
            crash_point(CrashPoint.CACHED_RESULTS_FORGOTTEN)
            await self._remove([row["key"] for row in rows if row["key"] is not None])
            freed += sum(row["size"] for row in rows)

    async def contents(self) -> list[ShelfPart]:
        """What is kept, by stage."""
        return [msgspec.convert(dict(row), ShelfPart) for row in await self._database.fetch(_CONTENTS)]

    async def _remove(self, keys: Sequence[str]) -> None:
        """Delete objects that no row names any more, and take them off the list."""
        for start in range(0, len(keys), OBJECTS_AT_ONCE):
            await asyncio.gather(*(self._objects.delete(key) for key in keys[start : start + OBJECTS_AT_ONCE]))
        if keys:
            await self._database.execute(_CLAIM, keys)


def _columns(results: Sequence[NewResult], keys: dict[str, str]) -> tuple[list[object], ...]:
    rows = [
        (
            one.digest,
            one.owner_id,
            one.stage,
            None if one.digest in keys else one.payload,
            keys.get(one.digest),
            _sha256(one.payload),
            _size(one),
        )
        for one in results
    ]
    return tuple(list(column) for column in zip(*rows, strict=True))


def _size(result: NewResult) -> int:
    return len(result.payload) + ROW_BYTES


def _new_key(digest: str) -> str:
    """Another one each time: two who make the same at once do not write over each other."""
    return f"{PREFIX}/{digest[:2]}/{digest}-{secrets.token_hex(4)}"


def _sha256(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()
