"""The outbox: letters that are written with what gives cause for them, and sent later, at least once.

Whoever ends a job writes a row in the same transaction and goes on; a task of an api process hands it to the mail
server. A process that dies between the two steps leaves a row that the next one finds: then a letter may come twice,
under one Message-ID, and never not at all.
"""

import asyncio
from uuid import UUID

import structlog

from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.database.pool import Connection, Database, Row
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import DependencyUnavailable
from octavia_stream.mail.smtp import SmtpMail

POLL_S = 5.0
AT_ONCE = 10
FIRST_RETRY_S = 300
"""Longer than a talk with a mail server may take, so no other process takes the letter meanwhile."""
LAST_RETRY_S = 6 * 3600
GIVE_UP_DAYS = 3

_PUT = """
insert into letter (id, key, account_id, subject, body) values ($1, $2, $3, $4, $5) on conflict (key) do nothing
"""
# Each try waits twice as long as the one before.
_TAKE = """
update letter set attempts = attempts + 1,
    next_try_at = now() + make_interval(secs => least($2, $3 * 2 ^ least(attempts, 20)))
from account
where account.id = letter.account_id and letter.id in (
    select id from letter where next_try_at <= now() order by next_try_at limit $1 for update skip locked
)
returning letter.id, letter.subject, letter.body, account.email
"""
_SENT = "delete from letter where id = $1"
_GIVE_UP = "delete from letter where created_at < now() - make_interval(days => $1) returning id"

log = structlog.stdlib.get_logger(__name__)


async def put(connection: Connection, account_id: UUID, *, key: str, subject: str, text: str) -> None:
    """Write a letter, to go out when the transaction of the connection is committed; once for a key."""
    await connection.execute(_PUT, uuid7(), key, account_id, subject, text)


class Outbox:
    """Letters in Postgres, on their way to a mail server."""

    def __init__(self, database: Database, mail: SmtpMail) -> None:
        self._database = database
        self._mail = mail

    async def run(self, poll_s: float = POLL_S) -> None:
        """Send what is there, again and again, until cancelled."""
        while True:
            try:
                while await self.deliver() == AT_ONCE:
                    pass
            except DependencyUnavailable as error:
                log.warning("letters_wait", reason=str(error))
            await asyncio.sleep(poll_s)

    async def deliver(self, limit: int = AT_ONCE) -> int:
        """Send what is due, oldest first; returns how many letters were tried. Raises DependencyUnavailable."""
        for row in await self._database.fetch(_GIVE_UP, GIVE_UP_DAYS):
            log.warning("letter_given_up", letter=str(row["id"]))
        due = await self._database.fetch(_TAKE, limit, LAST_RETRY_S, FIRST_RETRY_S)
        if due:
            crash_point(CrashPoint.LETTER_TAKEN)
        for row in due:
            await self._send(row)
        return len(due)

    async def _send(self, row: Row) -> None:
        try:
            await self._mail.send(row["email"], row["subject"], row["body"], reference=str(row["id"]))
        except DependencyUnavailable as error:
            log.warning("letter_not_taken", letter=str(row["id"]), reason=str(error))
        else:
            crash_point(CrashPoint.LETTER_SENT)
            await self._database.execute(_SENT, row["id"])
