"""Whose a thing is, and whether who asks may do this to it: the one door to what several people share."""

from uuid import UUID

from octavia_stream.accounts.team import Role
from octavia_stream.accounts.team_roles import Action, require
from octavia_stream.database.pool import Database, Row
from octavia_stream.errors import NotFound

_ROLE = "select role from team_member where team_id = $1 and account_id = $2"
_JOB = """
select job.owner_id, job.created_by, member.role from job
left join team_member member on member.team_id = job.owner_id and member.account_id = $2
where job.id = $1
"""
_UPLOAD = """
select upload.owner_id, upload.created_by, member.role from upload
left join team_member member on member.team_id = upload.owner_id and member.account_id = $2
where upload.id = $1
"""


class Access:
    """Methods return the owner, an account or a team, and raise NotFound to outsiders and Forbidden to insiders.

    Like all others they raise DependencyUnavailable while Postgres is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def owner_for(self, account_id: UUID, team_id: UUID | None, action: Action) -> UUID:
        """Of what is to be made or listed: the account itself, or the team that was named."""
        if team_id is None:
            return account_id
        role: Role | None = await self._database.fetchval(_ROLE, team_id, account_id)
        if role is None:
            raise NotFound("There is no such team, or you are not in it.")
        require(role, action)
        return team_id

    async def owner_of_job(self, job_id: UUID, account_id: UUID, action: Action) -> UUID:
        """Of a job that is there."""
        row = await self._database.fetchrow(_JOB, job_id, account_id)
        return _owner(row, account_id, action, "There is no such job, or it is not yours.")

    async def owner_of_upload(self, upload_id: UUID, account_id: UUID, action: Action) -> UUID:
        """Of an upload that is there."""
        row = await self._database.fetchrow(_UPLOAD, upload_id, account_id)
        return _owner(row, account_id, action, "There is no such upload, or it is not yours.")


def _owner(row: Row | None, account_id: UUID, action: Action, missing: str) -> UUID:
    if row is None:
        raise NotFound(missing)
    owner_id: UUID = row["owner_id"]
    if owner_id == account_id:
        return owner_id
    if row["role"] is None:
        raise NotFound(missing)
    require(row["role"], action, own=row["created_by"] == account_id)
    return owner_id
