"""LiveSession: one conversation or talk that is dubbed while it goes on, and the states it passes through."""

from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec

from octavia_stream.live.options import LiveOptions
from octavia_stream.live.state import RoomState

SessionStatus: TypeAlias = Literal["created", "live", "waiting", "ended"]
"""created: nobody has spoken. waiting: whoever spoke is gone and may come back. ended: for ever."""
EndReason: TypeAlias = str
"""`snake_case`, such as `closed`, `nobody_came`, `lost`, `credits_used_up`, `withdrawn`, `removed`, `administrator`."""

BEAT_S = 2.0
"""How often a node says that a session of its lives."""
LEASE_S = 10.0
"""How long a session stays with a node that gives no sign of life."""
RESUME_S = 30.0
"""How long after that it may be taken up by another node."""
UNUSED_S = 120.0
"""How long a session waits for its first speaker."""
AHEAD_S = 600.0
"""For how much sound credits are held at a time."""
TOP_UP_S = 120.0
"""When no more than this is paid for, more is held."""

TRANSITIONS: dict[SessionStatus, frozenset[SessionStatus]] = {
    "created": frozenset({"created", "live", "ended"}),
    "live": frozenset({"live", "waiting", "ended"}),
    "waiting": frozenset({"live", "waiting", "ended"}),
    "ended": frozenset(),
}


def next_status(now: SessionStatus, *, speaking: bool) -> SessionStatus:
    """What a sign of life makes of a session. speaking: whether somebody speaks, or is connected and may."""
    if speaking:
        return "live"
    return "created" if now == "created" else "waiting"


class LiveSession(msgspec.Struct, frozen=True):
    """One row of table `live_session`, without its secrets."""

    id: UUID
    owner_id: UUID
    created_by: UUID | None
    """None: that account is gone."""
    options: LiveOptions
    status: SessionStatus
    epoch: int
    heard_s: float
    """Sound that was taken in, over all speakers."""
    credits_per_minute: int
    """For all its languages together; 0: it is free."""
    charged: int
    """Credits that it cost; 0 before its end."""
    created_at: datetime
    state: RoomState | None = None
    node_id: str | None = None
    lease_until: datetime | None = None
    ending: EndReason | None = None
    paid_s: float | None = None
    """Sound that credits are held for; None: it is free."""
    hold_id: UUID | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: EndReason | None = None


class Beat(msgspec.Struct, frozen=True):
    """What a node is told when it says that a session lives."""

    ending: EndReason | None
    """End it now, for this reason: its owner, an administrator or what opened it says so."""
    left_s: float | None
    """Sound that is still paid for, and that nothing more can be held for when it is below `TOP_UP_S`; at 0 the session
    ends. None: it is free."""


class Pass(msgspec.Struct, frozen=True):
    """What a token of a session opens."""

    session_id: UUID
    listener_id: UUID | None
    """None: it is the session's own token, which may do everything."""


class ListenerLink(msgspec.Struct, frozen=True):
    """One row of table `live_listener`, without its secret."""

    id: UUID
    session_id: UUID
    name: str
    created_at: datetime
