"""Everybody's live sessions, without what is said in them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from octavia_stream.admin.acts import Actor, ActStore, Deed
from octavia_stream.errors import Conflict
from octavia_stream.sessions.placement import LiveNodes
from octavia_stream.sessions.session import LiveSession, SessionStatus
from octavia_stream.sessions.store import LiveSessionStore

ADMINISTRATOR = "administrator"
"""Why a session ended that an administrator ended."""


class OperatedSession(msgspec.Struct, frozen=True):
    """A live session, for administrators: how it fares."""

    id: UUID
    owner_id: UUID
    """An account or a team."""
    created_by: UUID | None
    status: SessionStatus
    languages: int
    """That go out."""
    heard_s: float
    credits_per_minute: int
    charged: int
    epoch: int
    """How many nodes had it, one after the other."""
    node_id: str | None
    lease_until: datetime | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None


class SessionDirectory:
    """Methods raise DependencyUnavailable while Postgres is away."""

    def __init__(self, store: LiveSessionStore, nodes: LiveNodes, acts: ActStore) -> None:
        self._store = store
        self._nodes = nodes
        self._acts = acts

    async def list_sessions(
        self, limit: int, before: UUID | None, owner_id: UUID | None, statuses: Sequence[SessionStatus] | None
    ) -> list[OperatedSession]:
        """Newest first; `before` is the last id of the page before. None: everybody's, and all."""
        return [_operated(one) for one in await self._store.list_sessions(owner_id, limit, before, statuses)]

    async def end(self, actor: Actor, live_id: UUID, reason: str) -> OperatedSession:
        """As its owner would. Raises NotFound, Conflict when it has ended."""
        session = await self._store.get(live_id)
        if session.status == "ended":
            raise Conflict("This live session has ended already.")
        await self._acts.write_down(actor, Deed("end_session", str(live_id), reason))
        return _operated(await self._nodes.end(session, ADMINISTRATOR))


def _operated(session: LiveSession) -> OperatedSession:
    fields = {name: getattr(session, name) for name in OperatedSession.__struct_fields__ if name != "languages"}
    return OperatedSession(**fields, languages=len(session.options.targets))
