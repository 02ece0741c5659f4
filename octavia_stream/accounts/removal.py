"""Removing an account or a team: everything that it owned, rows and files.

What stays are the books: transfers of credits, which name an id that nobody has any more.
"""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from octavia_stream.accounts.teams import enter
from octavia_stream.billing import ledger
from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.database.pool import Connection, Database, Row
from octavia_stream.errors import Conflict, NotFound
from octavia_stream.jobs.postgres import PostgresJobStore
from octavia_stream.sessions.recording import let_go_of_owners
from octavia_stream.sessions.settling import end_of_owners
from octavia_stream.storage.objects import ObjectStore

_UNFINISHED = """
select id, owner_id from job where owner_id = any($1::uuid[]) and submitted_at is not null and finished_at is null
"""
# New log-ins of the account wait for this lock, then find that it is gone; new jobs and uploads for the other.
_LOCK = "select from account where id = $1 for update"
_LOCK_OWNERS = "select from tenant where id = any($1::uuid[]) order by id for update"
_OWNED_TEAMS = """
select team.id, team.name, (select count(*) from team_member where team_id = team.id) as people
from team join team_member mine on mine.team_id = team.id
where mine.account_id = $1 and mine.role = 'owner' order by team.id for update of team
"""
_DELETE_JOBS = """
delete from job where owner_id = any($1::uuid[]) and (submitted_at is null or finished_at is not null) returning id
"""
_STILL_THERE = "select exists (select from job where owner_id = any($1::uuid[]))"
_DELETE_UPLOADS = "delete from upload where owner_id = any($1::uuid[]) returning key"
_LET_GO = "insert into object_removal (key, is_prefix) select unnest($1::text[]), $2 on conflict do nothing"
_DELETE_ACCOUNT = "delete from account where id = $1"
_DELETE_TEAMS = "delete from team where id = any($1::uuid[])"
_DUE = "select key, is_prefix from object_removal order by asked_at limit 500"
_DONE = "delete from object_removal where key = any($1::text[])"
REMOVED_AT_ONCE = 8


class Removal:
    """Methods raise DependencyUnavailable while Postgres is away, StorageUnavailable while storage is."""

    def __init__(self, database: Database, jobs: PostgresJobStore, objects: ObjectStore) -> None:
        self._database = database
        self._jobs = jobs
        self._objects = objects

    async def remove_account(self, account_id: UUID) -> None:
        """Rows at once, then files. Raises NotFound, and Conflict while a worker still holds one of its jobs.

        Jobs that run are asked to stop, which gives the credits held for them back: then it works a little later.
        Teams of nobody else go with it; Conflict while it owns one with others in it. In teams of others, what it made
        stays.
        """
        alone = _teams_of_nobody_else(await self._database.fetch(_OWNED_TEAMS, account_id))
        await self._stop_jobs([account_id, *alone])
        async with self._database.transaction() as connection:
            if await connection.fetchrow(_LOCK, account_id) is None:
                raise NotFound("There is no such account.")
            teams = _teams_of_nobody_else(await connection.fetch(_OWNED_TEAMS, account_id))
            await _remove_owned(connection, [account_id, *teams])
            await connection.execute(_DELETE_TEAMS, teams)
            await connection.execute(_DELETE_ACCOUNT, account_id)
        crash_point(CrashPoint.OWNER_FORGOTTEN)
        await self.remove_objects()

    async def remove_team(self, team_id: UUID, account_id: UUID) -> None:
        """Rows at once, then files. Raises NotFound, Forbidden, and Conflict while it has credits or jobs under way."""
        async with self._database.transaction() as connection:
            await enter(connection, team_id, account_id, "team:delete")
            await connection.execute(_LOCK_OWNERS, [team_id])
            if await connection.fetch(_UNFINISHED, [team_id]):
                raise Conflict("Jobs of this team wait or run; cancel them, or let them end first.")
            _require_empty((await ledger.balance(connection, team_id)).balance)
            await _remove_owned(connection, [team_id])
            await connection.execute(_DELETE_TEAMS, [team_id])
        crash_point(CrashPoint.TEAM_FORGOTTEN)
        await self.remove_objects()

    async def remove_objects(self) -> int:
        """Delete the files of accounts that are gone, also what an earlier call did not get to. Returns how many."""
        count = 0
        while due := await self._database.fetch(_DUE):
            for start in range(0, len(due), REMOVED_AT_ONCE):
                some = due[start : start + REMOVED_AT_ONCE]
                count += sum(await asyncio.gather(*(self._remove(row) for row in some)))
                crash_point(CrashPoint.OBJECT_REMOVED)
                await self._database.execute(_DONE, [row["key"] for row in some])
        return count

    async def _remove(self, row: Row) -> int:
        if row["is_prefix"]:
            return await self._objects.delete_prefix(row["key"])
        await self._objects.delete(row["key"])
        return 1

    async def _stop_jobs(self, owners: Sequence[UUID]) -> None:
        for row in await self._database.fetch(_UNFINISHED, owners):
            try:
                await self._jobs.request_cancel(row["id"], row["owner_id"])
            except Conflict:
                continue  # it ended by itself


async def _remove_owned(connection: Connection, owners: Sequence[UUID]) -> None:
    """Jobs and uploads, their rows now and their files later. Raises Conflict while a worker holds one of the jobs."""
    await connection.execute(_LOCK_OWNERS, owners)
    await end_of_owners(connection, owners, "removed")
    await let_go_of_owners(connection, owners)
    jobs = await connection.fetch(_DELETE_JOBS, owners)
    if await connection.fetchval(_STILL_THERE, owners):
        raise Conflict("Your jobs are being stopped; try again in a few seconds.")
    uploads = await connection.fetch(_DELETE_UPLOADS, owners)
    await connection.execute(_LET_GO, [f"jobs/{row['id']}" for row in jobs], True)
    await connection.execute(_LET_GO, [row["key"] for row in uploads], False)


def _teams_of_nobody_else(owned: Sequence[Row]) -> list[UUID]:
    """Of the teams that somebody owns. Raises Conflict when others are in one."""
    shared = [row["name"] for row in owned if row["people"] > 1]
    if shared:
        raise Conflict(f"You own the team {shared[0]} and others are in it; hand it over or delete it first.")
    return [row["id"] for row in owned]


def _require_empty(balance: int) -> None:
    if balance > 0:
        raise Conflict(f"This team has {balance} credits; use them, or ask who runs this server to move them, first.")
    if balance < 0:
        raise Conflict(f"This team owes {-balance} credits after a payment was returned; settle that first.")
