"""Requests that may be sent twice and must be done once, each under a key of its sender's."""

from dataclasses import dataclass
from uuid import UUID

from octavia_stream.database.pool import Database
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import Conflict, KeyReused

LIFETIME_H = 24
ABANDONED_AFTER_S = 60
"""Nobody takes so long to answer: whoever took the key is dead."""

_EXPIRE = """
delete from idempotency_key where owner_id = $1 and key = $2 and created_at < now() - make_interval(hours => $3)
"""
_TAKE = """
insert into idempotency_key (owner_id, key, fingerprint, resource_id)
select id, $2, $3, $4 from account where id = $1
on conflict (owner_id, key) do update set taken_at = now()
    where idempotency_key.fingerprint = excluded.fingerprint and idempotency_key.response is null
        and idempotency_key.taken_at < now() - make_interval(secs => $5)
returning resource_id
"""
_READ = "select fingerprint, response from idempotency_key where owner_id = $1 and key = $2"
_ANSWER = "update idempotency_key set response = $3 where owner_id = $1 and key = $2 and response is null"
_GIVE_BACK = "delete from idempotency_key where owner_id = $1 and key = $2 and response is null"
_ABANDON = """
update idempotency_key set taken_at = '-infinity' where owner_id = $1 and key = $2 and response is null
"""
_FORGET_OLD = "delete from idempotency_key where created_at < now() - make_interval(hours => $1)"


@dataclass(frozen=True, slots=True)
class Taken:
    """The request is to be done now."""

    resource_id: UUID
    """What is made must have this id: then it is made once, even when this process dies and another takes over."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The request was done before."""

    response: bytes


class IdempotencyKeys:
    """Keys in Postgres, for 24 hours. Methods raise DependencyUnavailable while it is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, owner_id: UUID, key: str, fingerprint: str) -> Taken | Answered:
        """Say what to do with a request.

        fingerprint: of all that was asked. Raises KeyReused when something else was asked under the key before,
        Conflict while its first sending is under way.
        """
        await self._database.execute(_EXPIRE, owner_id, key, LIFETIME_H)
        resource_id = await self._database.fetchval(_TAKE, owner_id, key, fingerprint, uuid7(), ABANDONED_AFTER_S)
        if resource_id is not None:
            return Taken(resource_id)
        row = await self._database.fetchrow(_READ, owner_id, key)
        if row is not None and row["fingerprint"] != fingerprint:
            raise KeyReused
        if row is None or row["response"] is None:
            raise Conflict("The first request with this Idempotency-Key is still under way; ask again in a second.")
        return Answered(row["response"])

    async def answer(self, owner_id: UUID, key: str, response: bytes) -> None:
        """Keep what the request was answered."""
        await self._database.execute(_ANSWER, owner_id, key, response)

    async def give_back(self, owner_id: UUID, key: str) -> None:
        """The request was refused, so nothing was done: it may be asked again, also in another way."""
        await self._database.execute(_GIVE_BACK, owner_id, key)

    async def abandon(self, owner_id: UUID, key: str) -> None:
        """Whether it was done is not known: whoever asks next finishes it, under the same id."""
        await self._database.execute(_ABANDON, owner_id, key)

    async def forget_old(self) -> None:
        """Remove the keys of more than a day ago."""
        await self._database.execute(_FORGET_OLD, LIFETIME_H)
