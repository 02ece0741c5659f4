"""Whose a thing is, for who asks, and whether they may do this to it: the one door to what several people share."""

from uuid import UUID

from octavia_stream.accounts.team import Role
from octavia_stream.accounts.team_roles import Action, require
from octavia_stream.accounts.teams import NO_TEAM
from octavia_stream.database.pool import Database, Row
from octavia_stream.errors import NotFound

_ROLE = "select role from team_member where team_id = $1 and account_id = $2"
_JOB = """
select job.owner_id, job.created_by, member.role from job
join team_member member on member.team_id = job.owner_id and member.account_id = $2
where job.id = $1
"""
_UPLOAD = """
select upload.owner_id, upload.created_by, member.role from upload
join team_member member on member.team_id = upload.owner_id and member.account_id = $2
where upload.id = $1
"""

_SESSION = """
select session.owner_id, session.created_by, member.role from live_session session
join team_member member on member.team_id = session.owner_id and member.account_id = $2
where session.id = $1
"""


class Access:
    """Methods return an owner, which is an account or a team, and raise Forbidden when a role does not reach so far.

    Like all others they raise DependencyUnavailable while Postgres is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def owner_for(self, account_id: UUID, team_id: UUID | None, action: Action) -> UUID:
        """Of what is to be made or listed: the account itself, or the team that was named. Raises NotFound."""
        if team_id is None:
            return account_id
        role: Role | None = await self._database.fetchval(_ROLE, team_id, account_id)
        if role is None:
            raise NotFound(NO_TEAM)
        require(role, action)
        return team_id

    async def owner_of_job(self, job_id: UUID, account_id: UUID, action: Action) -> UUID:
        """The team that owns a job and that the account is in, else the account: then it is there for it, or not."""
        return _owner(await self._database.fetchrow(_JOB, job_id, account_id), account_id, action)

    async def owner_of_upload(self, upload_id: UUID, account_id: UUID, action: Action) -> UUID:
        """As of a job."""
        return _owner(await self._database.fetchrow(_UPLOAD, upload_id, account_id), account_id, action)

    async def owner_of_session(self, live_id: UUID, account_id: UUID, action: Action) -> UUID:
        """As of a job."""
        return _owner(await self._database.fetchrow(_SESSION, live_id, account_id), account_id, action)


def _owner(row: Row | None, account_id: UUID, action: Action) -> UUID:
    if row is None:
        return account_id
    require(row["role"], action, own=row["created_by"] == account_id)
    owner_id: UUID = row["owner_id"]
    return owner_id
