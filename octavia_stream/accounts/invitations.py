"""Invitations to teams: a secret in a letter, good for one use by the account of that address."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import msgspec

from octavia_stream.accounts.secret_token import new_token, token_hash
from octavia_stream.accounts.store import normal_email
from octavia_stream.accounts.team import GivenRole, Invitation
from octavia_stream.accounts.teams import enter, join, require_room
from octavia_stream.database.pool import Connection, Database, Row
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import Conflict, NotFound

PREFIX = "oi_"
LIFETIME = timedelta(days=7)
NO_INVITATION = "This invitation is used up, withdrawn, too old, or for another address."

_INVITATION = "id, team_id, email, role, invited_by, created_at, expires_at"
_IS_MEMBER = """
select exists (
    select from team_member member join account on account.id = member.account_id
    where member.team_id = $1 and account.email = $2
)
"""
_FORGET_OLD = "delete from team_invitation where team_id = $1 and (expires_at <= now() or email = $2)"
_INVITE = f"""
insert into team_invitation (id, team_id, email, role, hash, invited_by, expires_at)
values ($1, $2, $3, $4, $5, (select id from account where id = $6 for key share), now() + $7)
returning {_INVITATION}
"""  # noqa: S608  (constants of this file)
_LIST = f"""
select {_INVITATION} from team_invitation where team_id = $1 and expires_at > now() order by id desc
"""  # noqa: S608
_REVOKE = "delete from team_invitation where id = $1 and team_id = $2 returning id"
# The account's own address decides, whatever the request says.
_FOR = """
select team_id from team_invitation invitation join account on account.email = invitation.email
where invitation.hash = $1 and account.id = $2 and invitation.expires_at > now()
"""
_LOCK_TEAM = "select from team where id = $1 for update"
_SPEND = """
delete from team_invitation where hash = $1 and expires_at > now()
    and email = (select email from account where id = $2)
returning team_id, role
"""


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """An invitation, the only moment in which its secret is known, and what the letter has to say."""

    invitation: Invitation
    secret: str
    team: str


class InvitationStore:
    """Methods raise NotFound to who is not in the team, Forbidden to who is and may not, and DependencyUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def invite(self, team_id: UUID, account_id: UUID, email: str, role: GivenRole) -> NewInvitation:
        """In place of an earlier one for the address. Raises InvalidRequest, and Conflict for who is in the team."""
        normal, secret = normal_email(email), new_token(PREFIX)
        async with self._database.transaction() as connection:
            await enter(connection, team_id, account_id, "members:invite")
            if await connection.fetchval(_IS_MEMBER, team_id, normal):
                raise Conflict("They are in this team already.")
            await connection.execute(_FORGET_OLD, team_id, normal)
            await require_room(connection, team_id)
            row = await connection.fetchrow(
                _INVITE, uuid7(), team_id, normal, role, token_hash(secret), account_id, LIFETIME
            )
            name: str = await connection.fetchval("select name from team where id = $1", team_id)
        return NewInvitation(_invitation(row), secret, name)

    async def list_invitations(self, team_id: UUID, account_id: UUID) -> list[Invitation]:
        """Those that can still be accepted, newest first."""
        async with self._database.transaction() as connection:
            await enter(connection, team_id, account_id, "members:invite")
            return [_invitation(row) for row in await connection.fetch(_LIST, team_id)]

    async def revoke(self, team_id: UUID, account_id: UUID, invitation_id: UUID) -> None:
        """It lets nobody in any more."""
        async with self._database.transaction() as connection:
            await enter(connection, team_id, account_id, "members:invite")
            if await connection.fetchrow(_REVOKE, invitation_id, team_id) is None:
                raise NotFound("There is no such invitation.")

    async def accept(self, secret: str, account_id: UUID) -> UUID:
        """Become one of the team; returns which. Once, and only for the account of the address it went to."""
        async with self._database.transaction() as connection:
            spent = await _spend(connection, secret, account_id)
            if not await join(connection, spent["team_id"], account_id, spent["role"]):
                raise Conflict("You are in this team already.")
        team_id: UUID = spent["team_id"]
        return team_id

    async def decline(self, secret: str, account_id: UUID) -> None:
        """Say no: it lets nobody in any more."""
        async with self._database.transaction() as connection:
            await _spend(connection, secret, account_id)


async def _spend(connection: Connection, secret: str, account_id: UUID) -> Row:
    """Use an invitation up, with its team locked: first the team, then what is in it, as everywhere."""
    hashed = token_hash(secret)
    team_id = await connection.fetchval(_FOR, hashed, account_id)
    if team_id is None or await connection.fetchrow(_LOCK_TEAM, team_id) is None:
        raise NotFound(NO_INVITATION)
    row = await connection.fetchrow(_SPEND, hashed, account_id)
    if row is None:
        raise NotFound(NO_INVITATION)
    return row


def _invitation(row: Row | None) -> Invitation:
    if row is None:
        raise NotFound(NO_INVITATION)
    return msgspec.convert(dict(row), Invitation)
