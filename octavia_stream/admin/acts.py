"""What administrators did: who, what, to whom, and why. Rows are only added; the database refuses the rest."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

import msgspec

from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.database.pool import Connection, Database
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import Conflict, InvalidRequest
from octavia_stream.telemetry.context import request_id

COMMAND_LINE = "command line"
MAX_REASON = 500

ActName: TypeAlias = Literal[
    "grant_admin",
    "revoke_admin",
    "disable_user",
    "enable_user",
    "adjust_credits",
    "set_tier",
    "cancel_job",
    "retry_job",
    "end_session",
    "clean",
]

_ACT = "id, at, actor_id, actor, act, subject, reason, details, request_id"
_ADD = """
insert into admin_act (id, actor_id, actor, act, subject, reason, details, request_id, key)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (key) do nothing
"""
_BY_KEY = "select subject, details from admin_act where key = $1"
_LIST = f"""
select {_ACT} from admin_act where ($2::uuid is null or id < $2) and ($3::text is null or subject = $3)
order by id desc limit $1
"""  # noqa: S608  (constants of this file)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts."""

    id: UUID | None
    """None: whoever has the machine."""
    name: str
    """An e-mail address, or `COMMAND_LINE`."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Something about to be done."""

    act: ActName
    subject: str | None
    """The id that it is done to."""
    reason: str
    details: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    """The same key is the same deed: it is written down once."""


class Act(msgspec.Struct, frozen=True):
    """One row of table `admin_act`."""

    id: UUID
    at: datetime
    actor_id: UUID | None
    actor: str
    act: str
    subject: str | None
    reason: str
    details: dict[str, Any]
    request_id: str | None


async def write_down(connection: Connection, actor: Actor, deed: Deed) -> None:
    """In the transaction that does it.

    Raises InvalidRequest for a missing reason, Conflict for the key of another deed.
    """
    if not deed.reason.strip() or len(deed.reason) > MAX_REASON:
        raise InvalidRequest(f"Say why, in up to {MAX_REASON} characters.")
    row = (uuid7(), actor.id, actor.name, deed.act, deed.subject, deed.reason, deed.details, request_id(), deed.key)
    if await connection.execute(_ADD, *row) == "INSERT 0 0":
        before = await connection.fetchrow(_BY_KEY, deed.key)
        if before is None or (before["subject"], before["details"]) != (deed.subject, deed.details):
            raise Conflict("This Idempotency-Key was used for something else.")


class ActStore:
    """Reads acts. Methods raise DependencyUnavailable while Postgres is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write_down(self, actor: Actor, deed: Deed) -> None:
        """As `write_down`, before something that has a transaction of its own: then it says what was asked for."""
        async with self._database.transaction() as connection:
            await write_down(connection, actor, deed)
        crash_point(CrashPoint.DEED_WRITTEN_DOWN)

    async def list_acts(self, limit: int, before: UUID | None = None, subject: str | None = None) -> list[Act]:
        """Newest first; `before` is the last id of the page before."""
        return [msgspec.convert(dict(row), Act) for row in await self._database.fetch(_LIST, limit, before, subject)]
