"""Accounts as an administrator sees them: who is there, who may do what, whom to keep out."""

from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec

from octavia_stream.accounts.store import normal_email
from octavia_stream.admin.acts import Actor, Deed, write_down
from octavia_stream.billing import ledger
from octavia_stream.billing.transfer import Transfer
from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.database.pool import Connection, Database
from octavia_stream.errors import Conflict, InvalidRequest, NotFound
from octavia_stream.quotas.quotas import Quotas

Role: TypeAlias = Literal["user", "admin"]

_USER = """
id, email, role, created_at, disabled_at,
(select coalesce(sum(balance), 0)::bigint from ledger_account where owner_id = account.id) as credits,
(select count(*) from job where owner_id = account.id) as jobs,
(select max(used_at) from log_in where account_id = account.id) as last_seen_at
"""
_LIST = f"""
select {_USER} from account
where ($2::uuid is null or id < $2) and ($3::text is null or position($3 in email) > 0)
    and ($4::text is null or role = $4) and ($5::bool is null or (disabled_at is not null) = $5)
order by id desc limit $1
"""  # noqa: S608  (constants of this file)
_GET = f"select {_USER} from account where id = $1"  # noqa: S608
_ROLE = "select email, role from account where id = $1 and disabled_at is null"
_LOCK = "select id, role, disabled_at from account where id = $1 for update"
_LOCK_EMAIL = "select id, role, disabled_at from account where email = $1 for update"
_DISABLE = "update account set disabled_at = now() where id = $1"
_ENABLE = "update account set disabled_at = null where id = $1"
_END_LOG_INS = "delete from log_in where account_id = $1"
_SET_ROLE = "update account set role = $2 where id = $1"
# An account or a team: either may own credits.
_OWNS = "select exists (select from tenant where id = $1)"


class User(msgspec.Struct, frozen=True):
    """An account, for administrators."""

    id: UUID
    email: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None
    credits: int
    """What the account itself has, what is held included; its teams have their own."""
    jobs: int
    last_seen_at: datetime | None
    """When a session was last carried on."""


class UserDirectory:
    """Every method raises DependencyUnavailable while Postgres is away; those that change something write it down."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def admin(self, account_id: UUID) -> Actor | None:
        """Who this is, when it is an administrator; asked for every request."""
        row = await self._database.fetchrow(_ROLE, account_id)
        return Actor(account_id, row["email"]) if row is not None and row["role"] == "admin" else None

    async def list_users(
        self,
        limit: int,
        *,
        before: UUID | None = None,
        text: str | None = None,
        role: Role | None = None,
        disabled: bool | None = None,
    ) -> list[User]:
        """Newest first; `before` is the last id of the page before. text: part of the address, in any case."""
        part = text.lower() if text is not None else None
        rows = await self._database.fetch(_LIST, limit, before, part, role, disabled)
        return [msgspec.convert(dict(row), User) for row in rows]

    async def get(self, user_id: UUID) -> User:
        """Raises NotFound."""
        row = await self._database.fetchrow(_GET, user_id)
        if row is None:
            raise NotFound("There is no such account.")
        return msgspec.convert(dict(row), User)

    async def disable(self, actor: Actor, user_id: UUID, reason: str) -> User:
        """Nobody logs in to it, its sessions are over, its keys open nothing; its jobs go on.

        Raises NotFound, and Conflict for administrators and for who is disabled already.
        """
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_LOCK, user_id)
            if row is None:
                raise NotFound("There is no such account.")
            if row["role"] == "admin":
                raise Conflict("This is an administrator; take that away first, on the command line.")
            if row["disabled_at"] is not None:
                raise Conflict("This account is disabled already.")
            await connection.execute(_DISABLE, user_id)
            await connection.execute(_END_LOG_INS, user_id)
            await write_down(connection, actor, Deed("disable_user", str(user_id), reason))
        return await self.get(user_id)

    async def enable(self, actor: Actor, user_id: UUID, reason: str) -> User:
        """It may log in again. Raises NotFound, and Conflict when it is not disabled."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_LOCK, user_id)
            if row is None:
                raise NotFound("There is no such account.")
            if row["disabled_at"] is None:
                raise Conflict("This account is not disabled.")
            await connection.execute(_ENABLE, user_id)
            await write_down(connection, actor, Deed("enable_user", str(user_id), reason))
        return await self.get(user_id)

    async def adjust_credits(self, actor: Actor, owner_id: UUID, amount: int, *, key: str, reason: str) -> Transfer:
        """Give (above zero) or take credits by hand; under one key of one administrator once.

        owner_id: an account or a team. Raises NotFound, InsufficientCredits, InvalidRequest, and Conflict when the key
        was used for something else.
        """
        own_key = f"admin/{actor.id}/{key}"
        deed = Deed("adjust_credits", str(owner_id), reason, {"amount": amount}, own_key)
        async with self._database.transaction() as connection:
            if not await connection.fetchval(_OWNS, owner_id):
                raise NotFound("There is no such account and no such team.")
            transfer = await ledger.adjust(connection, owner_id, amount, key=own_key, reason=reason)
            crash_point(CrashPoint.CREDITS_ADJUSTED)
            await write_down(connection, actor, deed)
        crash_point(CrashPoint.ADJUSTMENT_RECORDED)
        return transfer

    async def grant_admin(self, actor: Actor, email: str, reason: str) -> None:
        """Raises NotFound, InvalidRequest, and Conflict when it is one already or disabled."""
        async with self._database.transaction() as connection:
            user_id, role, disabled = await _locked_by_email(connection, email)
            if disabled:
                raise Conflict("This account is disabled.")
            if role == "admin":
                raise Conflict("This is an administrator already.")
            await connection.execute(_SET_ROLE, user_id, "admin")
            await write_down(connection, actor, Deed("grant_admin", str(user_id), reason))

    async def revoke_admin(self, actor: Actor, email: str, reason: str) -> None:
        """Raises NotFound, InvalidRequest, and Conflict when it is none."""
        async with self._database.transaction() as connection:
            user_id, role, _ = await _locked_by_email(connection, email)
            if role != "admin":
                raise Conflict("This is no administrator.")
            await connection.execute(_SET_ROLE, user_id, "user")
            await write_down(connection, actor, Deed("revoke_admin", str(user_id), reason))

    async def set_tier(self, actor: Actor, owner: str, tier: str, reason: str, quotas: Quotas) -> None:
        """owner: an account's e-mail address, or the id of a team. Raises NotFound, InvalidRequest."""
        async with self._database.transaction() as connection:
            owner_id = (await _locked_by_email(connection, owner))[0] if "@" in owner else _id(owner)
            await quotas.set_tier(connection, owner_id, tier)
            await write_down(connection, actor, Deed("set_tier", str(owner_id), reason, {"tier": tier}))


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidRequest("Name an account by its e-mail address, or a team by its id.") from error


async def _locked_by_email(connection: Connection, email: str) -> tuple[UUID, Role, bool]:
    row = await connection.fetchrow(_LOCK_EMAIL, normal_email(email))
    if row is None:
        raise NotFound("No account has this e-mail address; it must sign up first.")
    return row["id"], row["role"], row["disabled_at"] is not None
