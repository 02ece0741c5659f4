"""Log-ins: what a password opens on one device, until somebody ends it.

A log-in is carried on by refresh tokens, each good for one use. One that is shown a second time was stolen, from us
or by us, and nobody can tell who is who: the log-in ends for both.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from octavia_stream.accounts.secret_token import new_token, token_hash
from octavia_stream.database.pool import Connection, Database
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import NotFound, Unauthorized

PREFIX = "or_"
MAX_LOG_INS = 200
"""Of one account; the one that was used longest ago gives way."""
CLIENT_MAX = 200
ADDRESS_MAX = 100

_LOG_IN = "id, account_id, client, address, created_at, used_at, expires_at"
# Whoever disables the account waits for the lock, or was seen.
_OPEN = f"""
insert into log_in (id, account_id, client, address, expires_at)
select $1, id, $3, $4, now() + $5 from account where id = $2 and disabled_at is null for share
returning {_LOG_IN}
"""  # noqa: S608  (constants of this file)
_MAKE_ROOM = """
delete from log_in where account_id = $1 and (
    expires_at <= now()
    or id in (select id from log_in where account_id = $1 order by used_at desc, id desc offset $2)
)
"""
_ISSUE = "insert into refresh_token (hash, log_in_id, expires_at) values ($1, $2, now() + $3)"
# Both rows are locked: of two that come with one token, the second sees it spent.
_LOCK = """
select refresh_token.log_in_id, refresh_token.spent_at is not null as spent,
    refresh_token.expires_at > now() as fresh
from refresh_token join log_in on log_in.id = refresh_token.log_in_id
where refresh_token.hash = $1 for update
"""
_SPEND = "update refresh_token set spent_at = now() where hash = $1"
_FORGET_OLD = "delete from refresh_token where log_in_id = $1 and expires_at <= now()"
_CARRY_ON = f"""
update log_in set used_at = now(), expires_at = now() + $2, address = $3 where id = $1 returning {_LOG_IN}
"""  # noqa: S608
_IS_LIVE = "select exists (select from log_in where id = $1 and account_id = $2 and expires_at > now())"
_LIST = f"""
select {_LOG_IN} from log_in where account_id = $1 and expires_at > now() order by used_at desc, id desc
"""  # noqa: S608
_END = "delete from log_in where id = $1 and account_id = $2 returning id"
_END_OTHERS = "delete from log_in where account_id = $1 and id is distinct from $2"


class LogIn(msgspec.Struct, frozen=True):
    """One row of table `log_in`."""

    id: UUID
    account_id: UUID
    client: str
    """What the client called itself."""
    address: str
    """Where it came from last."""
    created_at: datetime
    used_at: datetime
    """When a refresh token was last traded."""
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OpenLogIn:
    """A log-in, and the token that carries it on."""

    log_in: LogIn
    refresh_token: str


class LogInStore:
    """Log-ins in Postgres. Methods raise DependencyUnavailable while it is away."""

    def __init__(self, database: Database, lifetime: timedelta) -> None:
        """lifetime: how long a refresh token waits for its use."""
        self._database = database
        self._lifetime = lifetime

    async def open(self, account_id: UUID, client: str, address: str) -> OpenLogIn:
        """After the password was right."""
        async with self._database.transaction() as connection:
            await connection.execute(_MAKE_ROOM, account_id, MAX_LOG_INS - 1)
            row = await connection.fetchrow(
                _OPEN, uuid7(), account_id, _printable(client, CLIENT_MAX), address[:ADDRESS_MAX], self._lifetime
            )
            if row is None:
                raise Unauthorized("This account is gone.")
            log_in = msgspec.convert(dict(row), LogIn)
            return OpenLogIn(log_in, await self._issue(connection, log_in.id))

    async def refresh(self, token: str, address: str) -> OpenLogIn:
        """Trade a refresh token for the next. Raises Unauthorized; a token that was used before ends its log-in."""
        hashed = token_hash(token)
        opened: OpenLogIn | None = None
        # A refusal is raised after the transaction: what it does to the log-in stays.
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_LOCK, hashed)
            if row is not None and row["spent"]:
                await connection.execute("delete from log_in where id = $1", row["log_in_id"])
            elif row is not None and row["fresh"]:
                await connection.execute(_SPEND, hashed)
                await connection.execute(_FORGET_OLD, row["log_in_id"])
                carried = await connection.fetchrow(_CARRY_ON, row["log_in_id"], self._lifetime, address[:ADDRESS_MAX])
                log_in = msgspec.convert(dict(carried or {}), LogIn)
                opened = OpenLogIn(log_in, await self._issue(connection, log_in.id))
        if opened is None:
            raise Unauthorized("The refresh token is used up or has expired; log in again.")
        return opened

    async def require_live(self, log_in_id: UUID, account_id: UUID) -> None:
        """Raises Unauthorized when the log-in has ended.

        Asked for every request: it takes 0.15 ms beside a Postgres on the same machine, and remembering the answer
        would let what was ended live on in other processes.
        """
        if not await self._database.fetchval(_IS_LIVE, log_in_id, account_id):
            raise Unauthorized("This log-in has ended; log in again.")

    async def list_log_ins(self, account_id: UUID) -> list[LogIn]:
        """Those that go on, last used first."""
        return [msgspec.convert(dict(row), LogIn) for row in await self._database.fetch(_LIST, account_id)]

    async def end(self, log_in_id: UUID, account_id: UUID) -> None:
        """Raises NotFound, also for another's."""
        if await self._database.fetchrow(_END, log_in_id, account_id) is None:
            raise NotFound("There is no such session, or it is not yours.")

    async def end_others(self, account_id: UUID, spared: UUID | None) -> None:
        """End all of an account's log-ins but one."""
        await self._database.execute(_END_OTHERS, account_id, spared)

    async def _issue(self, connection: Connection, log_in_id: UUID) -> str:
        token = new_token(PREFIX)
        await connection.execute(_ISSUE, token_hash(token), log_in_id, self._lifetime)
        return token


def _printable(text: str, limit: int) -> str:
    return "".join(character for character in text if character.isprintable())[:limit]
