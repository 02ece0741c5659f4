"""What lies in the object store, beside what the database says of it."""

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from octavia_stream.audit import queries
from octavia_stream.database.pool import Database, Row
from octavia_stream.errors import NotFound
from octavia_stream.storage.objects import ListedObject, ObjectStore

QUERY_TIMEOUT_S = 300.0
PAGE = 500
_OF_JOB = re.compile(r"jobs/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/")


@dataclass(slots=True)
class KeptObjects:
    """What is wrong with the objects that rows name, counted."""

    missing: int = 0
    damaged: int = 0
    """Of another size or another content than was written."""


async def check_kept(database: Database, objects: ObjectStore, *, content: bool) -> KeptObjects:
    """Look at every object that a row names. content: read them all; else only their sizes are compared."""
    found = KeptObjects()
    after = ""
    while rows := await _page(database, after):
        for row in rows:
            after = row["key"]
            try:
                good = await _is_good(objects, row, content=content)
            except NotFound:
                found.missing += 1
            else:
                found.damaged += not good
    return found


async def _page(database: Database, after: str) -> list[Row]:
    async with database.connection() as connection:
        return await connection.fetch(queries.KEPT_OBJECTS, after, PAGE)


async def _is_good(objects: ObjectStore, row: Row, *, content: bool) -> bool:
    """Raises NotFound."""
    size = await objects.size(row["key"])
    if row["size"] is not None and size != row["size"]:
        return False
    if not content:
        return True
    hasher = hashlib.sha256()
    async for piece in objects.stream(row["key"]):
        hasher.update(piece)
    return bool(hasher.hexdigest() == row["sha256"])


async def orphans(database: Database, objects: ObjectStore, older_than: datetime) -> AsyncIterator[ListedObject]:
    """Objects that nothing names. Those of a job under way are not looked at."""
    for prefix in ("jobs", "uploads", "tus", "staging", "previews", "calls", "cache", "live"):
        page: list[ListedObject] = []
        async for listed in objects.list(prefix):
            if listed.modified < older_than:
                page.append(listed)
            if len(page) == PAGE:
                for orphan in await _unnamed(database, page):
                    yield orphan
                page = []
        for orphan in await _unnamed(database, page):
            yield orphan


async def _unnamed(database: Database, page: Sequence[ListedObject]) -> list[ListedObject]:
    keys = [listed.key for listed in page]
    jobs = [UUID(found[1]) if (found := _OF_JOB.match(key)) else None for key in keys]
    async with database.connection() as connection:
        rows = await connection.fetch(queries.ORPHANS, keys, jobs, timeout=QUERY_TIMEOUT_S)
    named_by_nothing = {row["key"] for row in rows}
    return [listed for listed in page if listed.key in named_by_nothing]
