"""Teams in Postgres. Whoever changes one locks its row first, so that its people change one after the other."""

from uuid import UUID

import msgspec

from octavia_stream.accounts.team import GivenRole, Role, Team, TeamMember
from octavia_stream.accounts.team_roles import Action, require
from octavia_stream.database.pool import Connection, Database, Row
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import Conflict, InvalidRequest, NotFound

MAX_OWNED = 50
"""Teams that one account may own."""
MAX_MEMBERS = 200
"""People in a team, those who are invited included."""
NAME_MAX = 100

NO_TEAM = "There is no such team, or you are not in it."
_TEAM = """
    team.id, team.name, team.created_at, mine.role,
    (select count(*) from team_member where team_id = team.id) as members
"""
_GET = f"""
select {_TEAM} from team join team_member mine on mine.team_id = team.id and mine.account_id = $2 where team.id = $1
"""  # noqa: S608  (constants of this file)
_LIST = f"""
select {_TEAM} from team join team_member mine on mine.team_id = team.id and mine.account_id = $1
order by team.id desc
"""  # noqa: S608
_LOCK = """
select mine.role from team join team_member mine on mine.team_id = team.id
where team.id = $1 and mine.account_id = $2 for update of team
"""
# Two teams of one founder are counted one after the other.
_LOCK_ACCOUNT = "select from account where id = $1 for update"
_OWNED = "select count(*) from team_member where account_id = $1 and role = 'owner'"
_CREATE = "insert into team (id, name) values ($1, $2)"
# Whoever removes it waits, or has removed it.
_HOLD_ACCOUNT = "select id from account where id = $1 for key share"
_JOIN = "insert into team_member (team_id, account_id, role) values ($1, $2, $3) on conflict do nothing returning role"
_RENAME = "update team set name = $2 where id = $1"
_MEMBERS = """
select member.account_id, account.email, member.role, member.joined_at
from team_member member join account on account.id = member.account_id
where member.team_id = $1 order by member.joined_at, member.account_id
"""
_ROLE = "select role from team_member where team_id = $1 and account_id = $2"
_SET_ROLE = "update team_member set role = $3 where team_id = $1 and account_id = $2"
_REMOVE = "delete from team_member where team_id = $1 and account_id = $2"
# A place that was offered is taken.
_PEOPLE = """
select (select count(*) from team_member where team_id = $1)
    + (select count(*) from team_invitation where team_id = $1 and expires_at > now())
"""


class TeamStore:
    """Methods raise NotFound to who is not in the team, Forbidden to who is and may not, and DependencyUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, account_id: UUID, name: str) -> Team:
        """A team of one. Raises InvalidRequest, and Conflict for who owns `MAX_OWNED` already."""
        team_id, named = uuid7(), _team_name(name)
        async with self._database.transaction() as connection:
            if await connection.fetchrow(_LOCK_ACCOUNT, account_id) is None:
                raise NotFound("There is no such account.")
            if await connection.fetchval(_OWNED, account_id) >= MAX_OWNED:
                raise Conflict(f"You own {MAX_OWNED} teams already; delete one or hand one over first.")
            await connection.execute(_CREATE, team_id, named)
            await connection.fetchval(_JOIN, team_id, account_id, "owner")
            return _team(await connection.fetchrow(_GET, team_id, account_id))

    async def list_teams(self, account_id: UUID) -> list[Team]:
        """Those that the account is in, newest first."""
        return [_team(row) for row in await self._database.fetch(_LIST, account_id)]

    async def get(self, team_id: UUID, account_id: UUID) -> Team:
        """A team that the account is in."""
        return _team(await self._database.fetchrow(_GET, team_id, account_id))

    async def rename(self, team_id: UUID, account_id: UUID, name: str) -> Team:
        """Raises InvalidRequest."""
        named = _team_name(name)
        async with self._database.transaction() as connection:
            await enter(connection, team_id, account_id, "team:rename")
            await connection.execute(_RENAME, team_id, named)
            return _team(await connection.fetchrow(_GET, team_id, account_id))

    async def members(self, team_id: UUID, account_id: UUID) -> list[TeamMember]:
        """Those who came first are first."""
        await self.get(team_id, account_id)
        return [msgspec.convert(dict(row), TeamMember) for row in await self._database.fetch(_MEMBERS, team_id)]

    async def change_role(self, team_id: UUID, account_id: UUID, whose: UUID, role: GivenRole) -> None:
        """Raises Conflict for the owner, who has to hand the team over first."""
        async with self._database.transaction() as connection:
            await enter(connection, team_id, account_id, "members:change")
            await _not_the_owner(connection, team_id, whose)
            await connection.execute(_SET_ROLE, team_id, whose, role)

    async def remove(self, team_id: UUID, account_id: UUID, whose: UUID) -> None:
        """What they made stays with the team. Everybody may remove themselves; Conflict for the owner."""
        async with self._database.transaction() as connection:
            await enter(connection, team_id, account_id, "team:read" if whose == account_id else "members:remove")
            await _not_the_owner(connection, team_id, whose)
            await connection.execute(_REMOVE, team_id, whose)

    async def transfer(self, team_id: UUID, account_id: UUID, to: UUID) -> Team:
        """Hand the team to one of its people; who owned it becomes an admin. Raises Conflict, NotFound."""
        async with self._database.transaction() as connection:
            await enter(connection, team_id, account_id, "team:transfer")
            if to != account_id:
                await connection.fetchrow(_LOCK_ACCOUNT, to)
                await _role_of(connection, team_id, to)
                if await connection.fetchval(_OWNED, to) >= MAX_OWNED:
                    raise Conflict(f"They own {MAX_OWNED} teams already.")
                await connection.execute(_SET_ROLE, team_id, account_id, "admin")
                await connection.execute(_SET_ROLE, team_id, to, "owner")
            return _team(await connection.fetchrow(_GET, team_id, account_id))


async def enter(connection: Connection, team_id: UUID, account_id: UUID, action: Action) -> Role:
    """Lock a team for a change by one of its people; returns their role. Raises NotFound, Forbidden."""
    row = await connection.fetchrow(_LOCK, team_id, account_id)
    if row is None:
        raise NotFound(NO_TEAM)
    # Read again: it may have changed while the lock was waited for.
    role = await connection.fetchval(_ROLE, team_id, account_id)
    if role is None:
        raise NotFound(NO_TEAM)
    require(role, action)
    found: Role = role
    return found


async def join(connection: Connection, team_id: UUID, account_id: UUID, role: GivenRole) -> bool:
    """Let somebody into a locked team; False when they were in it. Raises NotFound for an account that just went."""
    if await connection.fetchval(_HOLD_ACCOUNT, account_id) is None:
        raise NotFound("There is no such account.")
    return await connection.fetchval(_JOIN, team_id, account_id, role) is not None


async def require_room(connection: Connection, team_id: UUID) -> None:
    """Raises Conflict when the locked team can take nobody more."""
    if await connection.fetchval(_PEOPLE, team_id) >= MAX_MEMBERS:
        raise Conflict(f"A team has at most {MAX_MEMBERS} people, those who are invited included.")


async def _role_of(connection: Connection, team_id: UUID, account_id: UUID) -> Role:
    role: Role | None = await connection.fetchval(_ROLE, team_id, account_id)
    if role is None:
        raise NotFound("There is nobody like that in this team.")
    return role


async def _not_the_owner(connection: Connection, team_id: UUID, account_id: UUID) -> None:
    if await _role_of(connection, team_id, account_id) == "owner":
        raise Conflict("A team has an owner; hand it over to somebody else first.")


def _team_name(name: str) -> str:
    clean = " ".join(name.split())
    if not 1 <= len(clean) <= NAME_MAX or not clean.isprintable():
        raise InvalidRequest(f"A team's name has 1 to {NAME_MAX} visible characters.")
    return clean


def _team(row: Row | None) -> Team:
    if row is None:
        raise NotFound(NO_TEAM)
    return msgspec.convert(dict(row), Team)
