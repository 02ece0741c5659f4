"""API keys: what programs show instead of logging in, each for some purposes only."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, get_args
from uuid import UUID

import msgspec

from octavia_stream.accounts.secret_token import new_token, token_hash
from octavia_stream.database.pool import Database
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import Conflict, NotFound, Unauthorized

PREFIX = "ok_live_"
HINT_LENGTH = len(PREFIX) + 4
MAX_KEYS = 50

Scope: TypeAlias = Literal[
    "jobs:read", "jobs:write", "uploads:write", "billing:read", "audio:write", "live:read", "live:write"
]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_KEY = "id, account_id, name, hint, scopes, created_at, last_used_at"
_LOCK_ACCOUNT = "select from account where id = $1 for update"
_COUNT = "select count(*) from api_key where account_id = $1"
_CREATE = f"""
insert into api_key (id, account_id, name, hint, hash, scopes) values ($1, $2, $3, $4, $5, $6) returning {_KEY}
"""  # noqa: S608  (constants of this file)
_LIST = f"select {_KEY} from api_key where account_id = $1 order by id desc"  # noqa: S608
_DELETE = "delete from api_key where id = $1 and account_id = $2 returning id"
_BY_HASH = f"""
select {_KEY}, coalesce(last_used_at < now() - interval '1 minute', true) as stale from api_key where hash = $1
    and not exists (select from account where account.id = account_id and disabled_at is not null)
"""  # noqa: S608
_USED = "update api_key set last_used_at = now() where id = $1"


class ApiKey(msgspec.Struct, frozen=True):
    """One row of table `api_key`, without the hash."""

    id: UUID
    account_id: UUID
    name: str
    hint: str
    """How the key begins, for its owner to tell it from others."""
    scopes: list[Scope]
    created_at: datetime
    last_used_at: datetime | None
    """To the minute."""


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key, and the only moment in which it is known."""

    key: ApiKey
    secret: str


class ApiKeyStore:
    """API keys in Postgres. Methods raise DependencyUnavailable while it is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, account_id: UUID, name: str, scopes: Iterable[Scope]) -> NewApiKey:
        """Raises Conflict when there are `MAX_KEYS` already, NotFound when the account is gone."""
        secret = new_token(PREFIX)
        async with self._database.transaction() as connection:
            if await connection.fetchrow(_LOCK_ACCOUNT, account_id) is None:
                raise NotFound("There is no such account.")
            if await connection.fetchval(_COUNT, account_id) >= MAX_KEYS:
                raise Conflict(f"There are {MAX_KEYS} API keys already; delete one first.")
            row = await connection.fetchrow(
                _CREATE, uuid7(), account_id, name, secret[:HINT_LENGTH], token_hash(secret), sorted(set(scopes))
            )
        return NewApiKey(msgspec.convert(dict(row or {}), ApiKey), secret)

    async def list_keys(self, account_id: UUID) -> list[ApiKey]:
        """Newest first."""
        return [msgspec.convert(dict(row), ApiKey) for row in await self._database.fetch(_LIST, account_id)]

    async def delete(self, key_id: UUID, account_id: UUID) -> None:
        """It opens nothing from now on. Raises NotFound, also for another's."""
        if await self._database.fetchrow(_DELETE, key_id, account_id) is None:
            raise NotFound("There is no such API key, or it is not yours.")

    async def identify(self, secret: str) -> ApiKey:
        """Whose key it is and for what. Raises Unauthorized."""
        row = await self._database.fetchrow(_BY_HASH, token_hash(secret))
        if row is None:
            raise Unauthorized("There is no such API key, or it was deleted.")
        if row["stale"]:
            await self._database.execute(_USED, row["id"])
        return msgspec.convert(dict(row), ApiKey)
