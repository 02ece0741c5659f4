"""Removing an account: everything that is its owner's, rows and files.

What stays are the books: transfers of credits, which name an id that nobody has any more.
"""

from uuid import UUID

from octavia_stream.database.pool import Database
from octavia_stream.errors import Conflict, NotFound
from octavia_stream.jobs.postgres import PostgresJobStore
from octavia_stream.storage.objects import ObjectStore

_UNFINISHED = "select id from job where owner_id = $1 and submitted_at is not null and finished_at is null"
# New jobs, uploads and log-ins of the account wait for this lock, then find that it is gone.
_LOCK = "select from account where id = $1 for update"
_DELETE_JOBS = """
delete from job where owner_id = $1 and (submitted_at is null or finished_at is not null) returning id
"""
_STILL_THERE = "select exists (select from job where owner_id = $1)"
_DELETE_UPLOADS = "delete from upload where owner_id = $1 returning key"
_LET_GO = "insert into object_removal (key, is_prefix) select unnest($1::text[]), $2 on conflict do nothing"
_DELETE_ACCOUNT = "delete from account where id = $1"
_DUE = "select key, is_prefix from object_removal order by asked_at limit 500"
_DONE = "delete from object_removal where key = $1"


class Removal:
    """Methods raise DependencyUnavailable while Postgres is away, StorageUnavailable while storage is."""

    def __init__(self, database: Database, jobs: PostgresJobStore, objects: ObjectStore) -> None:
        self._database = database
        self._jobs = jobs
        self._objects = objects

    async def remove_account(self, account_id: UUID) -> None:
        """Rows at once, then files. Raises NotFound, and Conflict while a worker still holds one of its jobs.

        Jobs that run are asked to stop, which gives the credits held for them back: then it works a little later.
        """
        await self._stop_jobs(account_id)
        async with self._database.transaction() as connection:
            if await connection.fetchrow(_LOCK, account_id) is None:
                raise NotFound("There is no such account.")
            jobs = await connection.fetch(_DELETE_JOBS, account_id)
            if await connection.fetchval(_STILL_THERE, account_id):
                raise Conflict("Your jobs are being stopped; try again in a few seconds.")
            uploads = await connection.fetch(_DELETE_UPLOADS, account_id)
            await connection.execute(_LET_GO, [f"jobs/{row['id']}" for row in jobs], True)
            await connection.execute(_LET_GO, [row["key"] for row in uploads], False)
            await connection.execute(_DELETE_ACCOUNT, account_id)
        await self.remove_objects()

    async def remove_objects(self) -> int:
        """Delete the files of accounts that are gone, also what an earlier call did not get to. Returns how many."""
        count = 0
        while due := await self._database.fetch(_DUE):
            for row in due:
                if row["is_prefix"]:
                    count += await self._objects.delete_prefix(row["key"])
                else:
                    await self._objects.delete(row["key"])
                    count += 1
                await self._database.execute(_DONE, row["key"])
        return count

    async def _stop_jobs(self, account_id: UUID) -> None:
        for row in await self._database.fetch(_UNFINISHED, account_id):
            try:
                await self._jobs.request_cancel(row["id"], account_id)
            except Conflict:
                continue  # it ended by itself
