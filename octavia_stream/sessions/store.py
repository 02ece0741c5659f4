"""Live sessions in Postgres: the truth that survives every node, every Redis and every api process."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from octavia_stream.accounts.secret_token import new_token, token_hash
from octavia_stream.accounts.standing import Grant
from octavia_stream.billing.prices import PricingTiers
from octavia_stream.config import BillingSettings
from octavia_stream.database.pool import Connection, Database, Row
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import Conflict, LeaseLost, NotFound, Unauthorized
from octavia_stream.live.options import LiveOptions
from octavia_stream.live.state import RoomState
from octavia_stream.quotas.quotas import Quotas
from octavia_stream.sessions import queries, settling
from octavia_stream.sessions.session import (
    AHEAD_S,
    LEASE_S,
    RESUME_S,
    UNUSED_S,
    Beat,
    EndReason,
    ListenerLink,
    LiveSession,
    Pass,
    SessionStatus,
    next_status,
)
from octavia_stream.telemetry.metrics import LIVE_SESSIONS_STARTED

SPEAKER_PREFIX = "olv_"
LISTENER_PREFIX = "oll_"
PRICED_AS = "live"
"""How the file of prices calls it; each language costs as much."""
MAX_LINKS = 100
"""Links to listen, of one session."""


class LiveSessionStore:
    """All methods raise DependencyUnavailable while Postgres is away."""

    def __init__(
        self,
        database: Database,
        prices: PricingTiers,
        quotas: Quotas,
        settings: BillingSettings,
        *,
        resume_s: float = RESUME_S,
    ) -> None:
        """resume_s: how long a session whose node died may be taken up by another."""
        self._database = database
        self._prices = prices
        self._quotas = quotas
        self._enabled = settings.enabled
        self._resume_s = resume_s

    # For the api

    async def create(
        self, owner_id: UUID, options: LiveOptions, grant: Grant, session_id: UUID | None = None
    ) -> tuple[LiveSession, str]:
        """A session that nobody has yet, and its token, which is known in this moment alone.

        grant: by what it is asked for. Raises TooManySessions, QuotaExceeded, InsufficientCredits.
        """
        token = new_token(SPEAKER_PREFIX)
        rate = self.rate(options)
        async with self._database.transaction() as connection:
            await self._quotas.admit_session(connection, owner_id, AHEAD_S)
            hold = await settling.hold_ahead(connection, owner_id, rate, AHEAD_S) if rate else None
            row = await connection.fetchrow(
                queries.CREATE,
                session_id or uuid7(),
                owner_id,
                grant.account_id,
                grant.log_in_id,
                grant.key_id,
                options,
                token_hash(token),
                rate,
                AHEAD_S if hold else None,
                hold.id if hold else None,
            )
        LIVE_SESSIONS_STARTED.inc()
        return _session(row), token

    def rate(self, options: LiveOptions) -> int:
        """Credits for a minute, all languages together."""
        return self._prices.quote(PRICED_AS, 60.0) * len(options.targets) if self._enabled else 0

    async def get(self, session_id: UUID) -> LiveSession:
        """Whosever it is. Raises NotFound."""
        return _session(await self._database.fetchrow(queries.GET, session_id))

    async def list_sessions(
        self,
        owner_id: UUID | None,
        limit: int,
        before: UUID | None = None,
        statuses: Sequence[SessionStatus] | None = None,
    ) -> list[LiveSession]:
        """Newest first; `before` is the last id of the page before. owner_id: None is everybody."""
        rows = await self._database.fetch(
            queries.LIST, owner_id, None if statuses is None else list(statuses), before, limit
        )
        return [_session(row) for row in rows]

    async def ask_to_end(self, session_id: UUID, reason: EndReason) -> None:
        """Whoever has it ends it at its next sign of life."""
        await self._database.execute(queries.ASK_TO_END, session_id, reason)

    async def end_now(self, session_id: UUID, reason: EndReason) -> LiveSession:
        """End and settle it, whoever has it; one that has ended stays as it is. Raises NotFound."""
        async with self._database.transaction() as connection:
            session = _session(await connection.fetchrow(queries.LOCK, session_id))
            if session.status == "ended":
                return session
            return await settling.end(connection, session, reason, session.heard_s, by_others=True)

    async def give_up(self, session_id: UUID) -> LiveSession:
        """Its node is gone, or has it no more: another may take it at once. Raises NotFound.

        Should the node live all the same, it finds at its next sign of life that it has lost the session.
        """
        return _session(await self._database.fetchrow(queries.GIVE_UP, session_id))

    async def somebody_speaks(self, session_id: UUID) -> None:
        """A speaker was let in: those who listen need not wait for the node to say so."""
        await self._database.execute(queries.SOMEBODY_SPEAKS, session_id)

    async def open_by(self, token: str) -> Pass:
        """What a token opens. Raises Unauthorized."""
        row = await self._database.fetchrow(queries.OPENED_BY, token_hash(token))
        if row is None:
            raise Unauthorized("This token opens no live session.")
        return Pass(row["session_id"], row["listener_id"])

    async def add_listener(self, session_id: UUID, name: str) -> tuple[ListenerLink, str]:
        """A link with which somebody may listen, and its token. Raises Conflict when it has ended or has too many."""
        token = new_token(LISTENER_PREFIX)
        row = await self._database.fetchrow(
            queries.ADD_LISTENER, uuid7(), session_id, token_hash(token), name, MAX_LINKS
        )
        if row is None:
            raise Conflict(f"The session has ended, or has {MAX_LINKS} links already.")
        return msgspec.convert(dict(row), ListenerLink), token

    async def listeners(self, session_id: UUID) -> list[ListenerLink]:
        """Links that were not taken back, oldest first."""
        rows = await self._database.fetch(queries.LISTENERS, session_id)
        return [msgspec.convert(dict(row), ListenerLink) for row in rows]

    async def remove_listener(self, session_id: UUID, listener_id: UUID) -> list[str]:
        """Take a link back; returns the connections that were made with it. Raises NotFound."""
        async with self._database.transaction() as connection:
            if await connection.fetchrow(queries.REMOVE_LISTENER, listener_id, session_id) is None:
                raise NotFound("There is no such link.")
            return [row["id"] for row in await connection.fetch(queries.PEERS_OF_LISTENER, listener_id)]

    async def listener_stands(self, listener_id: UUID) -> bool:
        """Whether a link was not taken back."""
        return bool(await self._database.fetchval(queries.LISTENER_STANDS, listener_id))

    async def add_peer(self, opened: Pass, peer_id: str) -> None:
        """A connection was made with a token."""
        await self._database.execute(queries.ADD_PEER, peer_id, opened.session_id, opened.listener_id)

    async def require_peer(self, opened: Pass, peer_id: str) -> None:
        """Raises NotFound when this is no connection that the token may touch: a listener has only its own."""
        row = await self._database.fetchrow(queries.PEER, opened.session_id, peer_id)
        if row is None or (opened.listener_id is not None and row["listener_id"] != opened.listener_id):
            raise NotFound("There is no such connection.")

    async def remove_peer(self, session_id: UUID, peer_id: str) -> None:
        """A connection is gone."""
        await self._database.execute(queries.REMOVE_PEER, session_id, peer_id)

    # For the node that has it

    async def take(self, session_id: UUID, node_id: str) -> int:
        """Have a session, for `LEASE_S`; returns the epoch that every later write must carry.

        Raises NotFound when it does not exist or has ended, Conflict while another node has it.
        """
        epoch = await self._database.fetchval(queries.TAKE, session_id, node_id, LEASE_S)
        if epoch is not None:
            return int(epoch)
        if (await self.get(session_id)).status == "ended":
            raise NotFound("This live session has ended.")
        raise Conflict("Another node has this live session.")

    async def beat(
        self,
        session_id: UUID,
        epoch: int,
        state: RoomState,
        heard_s: float,
        *,
        speaking: bool | None = None,
    ) -> Beat:
        """A sign of life: it stays with its node for `LEASE_S` more, and more is held for it when little is left.

        speaking: whether a speaker is connected; None: somebody is, once anything was heard.
        Raises LeaseLost when it has ended or another node has it.
        """
        async with self._database.transaction() as connection:
            session = await _held(connection, session_id, epoch)
            status = next_status(session.status, speaking=heard_s > 0 if speaking is None else speaking)
            withdrawn = await connection.fetchval(queries.WITHDRAWN, session_id)
            left_s = await settling.top_up(connection, session, heard_s)
            if left_s == 0:
                withdrawn = withdrawn or "credits_used_up"
            ending = await connection.fetchval(queries.BEAT, session_id, state, heard_s, status, LEASE_S, withdrawn)
        return Beat(ending, left_s)

    async def end(self, session_id: UUID, epoch: int, reason: EndReason, heard_s: float) -> LiveSession:
        """End it and charge for what was heard. One that this epoch ended already stays as it is.

        Raises LeaseLost when another node has it or somebody else ended it, NotFound.
        """
        async with self._database.transaction() as connection:
            session = _session(await connection.fetchrow(queries.LOCK, session_id))
            if session.epoch != epoch:
                raise LeaseLost("Another node has this live session, or it was ended.")
            if session.status == "ended":
                return session
            return await settling.end(connection, session, reason, heard_s, by_others=False)

    # For whoever sweeps

    async def end_lost(self) -> int:
        """End and settle what nobody else will: unused for `UNUSED_S`, or not taken up after its node died."""
        due = await self._database.fetch(queries.DUE, UNUSED_S, self._resume_s, None)
        for row in due:
            async with self._database.transaction() as connection:
                session = _session(await connection.fetchrow(queries.LOCK, row["id"]))
                # Somebody may have taken it up, or ended it, since.
                still = await connection.fetchrow(queries.DUE, UNUSED_S, self._resume_s, session.id)
                if still is not None:
                    await settling.end(connection, session, still["reason"], session.heard_s, by_others=True)
        return len(due)


async def _held(connection: Connection, session_id: UUID, epoch: int) -> LiveSession:
    row = await connection.fetchrow(queries.LOCK_HELD, session_id, epoch)
    if row is None:
        raise LeaseLost("Another node has this live session, or it was ended.")
    return _session(row)


def _session(row: Row | None) -> LiveSession:
    if row is None:
        raise NotFound("There is no such live session, or it is not yours.")
    return msgspec.convert(dict(row), LiveSession)
