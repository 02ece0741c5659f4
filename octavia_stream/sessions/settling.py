"""What live sessions cost: credits are held ahead of the sound, more of them while it goes on, and charged at the end
by the millisecond for what was heard.

Functions take a connection with an open transaction in which the session's row is locked.
"""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from octavia_stream.billing import ledger
from octavia_stream.billing.transfer import Hold
from octavia_stream.database.pool import Connection
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import InsufficientCredits
from octavia_stream.sessions import queries
from octavia_stream.sessions.session import AHEAD_S, TOP_UP_S, EndReason, LiveSession
from octavia_stream.telemetry.metrics import LIVE_SESSIONS_ENDED

MS_PER_MINUTE = 60_000
REASON = "live"
"""What stands in the history of credits."""

_COUNT_SOUND = """
insert into sound_use (job_id, owner_id, seconds, settled_at) select $1, id, $3, now() from tenant where id = $2
"""


def price(credits_per_minute: int, seconds: float) -> int:
    """By the millisecond, rounded up to whole credits."""
    return -(-round(seconds * 1000) * credits_per_minute // MS_PER_MINUTE)


async def hold_ahead(connection: Connection, owner_id: UUID, credits_per_minute: int, seconds: float) -> Hold:
    """Set aside what `seconds` of sound cost. Raises InsufficientCredits."""
    amount = price(credits_per_minute, seconds)
    return await ledger.reserve(connection, owner_id, amount, key=f"reserve/live/{uuid7()}", reason=REASON)


async def top_up(connection: Connection, session: LiveSession, heard_s: float) -> float | None:
    """Hold more when little is left, if there is more; returns the sound that is paid for and was not heard yet."""
    if session.paid_s is None or session.hold_id is None:
        return None
    left_s = session.paid_s - heard_s
    if left_s > TOP_UP_S:
        return left_s
    paid_s = heard_s + AHEAD_S
    try:
        # One hold takes the place of another, so that at the end one line says what the session cost.
        async with connection.transaction():
            await ledger.release(connection, await _hold(connection, session.hold_id), reason=REASON)
            hold = await hold_ahead(connection, session.owner_id, session.credits_per_minute, paid_s)
            await connection.execute(queries.PAY, session.id, hold.id, paid_s)
    except InsufficientCredits:
        return max(left_s, 0.0)
    return AHEAD_S


async def end(
    connection: Connection, session: LiveSession, reason: EndReason, heard_s: float, *, by_others: bool
) -> LiveSession:
    """End it and charge for what was heard, never more than is held.

    by_others: whoever has it is not the one that ends it, and finds its lease lost.
    """
    heard_s = max(session.heard_s, heard_s)
    charged = 0
    if session.hold_id is not None:
        hold = await _hold(connection, session.hold_id)
        charged = min(hold.amount, price(session.credits_per_minute, heard_s))
        await ledger.capture(connection, hold, charged, reason=REASON)
    await connection.execute(_COUNT_SOUND, session.id, session.owner_id, heard_s)
    row = await connection.fetchrow(queries.END, session.id, reason, heard_s, charged, int(by_others))
    await connection.execute(queries.FORGET_PEERS, session.id)
    LIVE_SESSIONS_ENDED.labels(reason).inc()
    return msgspec.convert(dict(row or {}), LiveSession)


async def end_of_owners(connection: Connection, owners: Sequence[UUID], reason: EndReason) -> None:
    """End every session of accounts or teams that go."""
    for row in await connection.fetch(queries.LOCK_OF_OWNERS, owners):
        session = msgspec.convert(dict(row), LiveSession)
        await end(connection, session, reason, session.heard_s, by_others=True)


async def _hold(connection: Connection, hold_id: UUID) -> Hold:
    return msgspec.convert(dict(await connection.fetchrow(queries.HOLD, hold_id) or {}), Hold)
