"""Supervisor: owns every live session of one node: admits, keeps, drains, ends."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from uuid import UUID

import msgspec
import structlog

from octavia_stream.config import LiveSettings
from octavia_stream.errors import Conflict, DependencyUnavailable, LeaseLost, NotFound, OctaviaError, Overloaded
from octavia_stream.live.options import LiveOptions
from octavia_stream.live.state import RoomState
from octavia_stream.sessions.admission import SAMPLE_S, Admission
from octavia_stream.sessions.hosted import MOVED, HostedSession, Lease
from octavia_stream.sessions.loop_lag import LoopLag
from octavia_stream.sessions.ports import Leases, Nodes, RoomFor
from octavia_stream.sessions.recorder import Recorder
from octavia_stream.sessions.registry import TELL_S, NodeCard

log = structlog.get_logger(__name__)


class NewSession(msgspec.Struct, frozen=True):
    """What the api sends to start a session here, or to go on with one."""

    session_id: UUID
    owner_id: UUID
    options: LiveOptions
    state: RoomState | None = None


class NodeLoad(msgspec.Struct, frozen=True):
    """What the node says of itself."""

    sessions: int
    cpu: float
    """Share of the machine's CPUs in use."""
    capacity: int
    """How many more sessions it would take."""
    draining: bool
    loop_lag_p99_ms: float


@dataclass(frozen=True, slots=True)
class Node:
    """Who this node is."""

    id: str
    url: str
    """Of its private endpoint."""


class Supervisor:
    """Use `run` once; everything else while it runs."""

    def __init__(
        self,
        settings: LiveSettings,
        rooms: RoomFor,
        leases: Leases,
        nodes: Nodes,
        recorder_for: Callable[[UUID], Recorder] | None = None,
        admission: Admission | None = None,
    ) -> None:
        """recorder_for: None records nothing, whatever sessions ask for."""
        self._settings = settings
        self._rooms = rooms
        self._leases = leases
        self._nodes = nodes
        self._recorder_for = recorder_for
        self._admission = admission or Admission(settings)
        self._lag = LoopLag(lambda: bool(self._sessions))
        self._sessions: dict[UUID, HostedSession] = {}
        self._opening: set[UUID] = set()
        self._hosting: dict[UUID, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._draining = False
        self._started_at = datetime.now(UTC)

    @property
    def sessions(self) -> Mapping[UUID, HostedSession]:
        """Those that are here."""
        return MappingProxyType(self._sessions)

    async def run(self, node: Node) -> None:
        """Hold sessions until cancelled; those that are here then move."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._node = node
                group.create_task(self._lag.run(), name="loop lag")
                group.create_task(self._measure(), name="cpu")
                group.create_task(self._tell(node), name="node card")
        finally:
            with suppress(DependencyUnavailable):
                await asyncio.shield(self._nodes.withdraw(node.id))

    async def open(self, new: NewSession) -> None:
        """Start a session, or go on with one. Returns when clients may connect.

        Raises Overloaded (no capacity, or draining), Conflict (it is here, or another node has it), NotFound (it has
        ended), and what the room's maker raises.
        """
        if self._group is None or self._draining:
            raise Overloaded("This live node is about to stop; another takes new sessions.")
        if new.session_id in self._sessions or new.session_id in self._opening:
            raise Conflict("This live session is here already.")
        count = len(self._sessions) + len(self._opening)
        self._admission.admit(asyncio.get_running_loop().time(), count, self._lag.p99_s())
        self._opening.add(new.session_id)
        try:
            await self._start(new, self._group)
        finally:
            self._opening.discard(new.session_id)

    def session(self, session_id: UUID) -> HostedSession:
        """Raises NotFound."""
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFound("This live session is not here.")
        return session

    async def close(self, session_id: UUID, reason: str) -> None:
        """End a session and wait until that is written down. Raises NotFound."""
        self.session(session_id).end(reason)
        task = self._hosting.get(session_id)
        if task is not None:
            await asyncio.wait({task})

    async def drain(self) -> None:
        """Take no more sessions and let those that are here move to other nodes. May be called twice."""
        self._draining = True
        for session in self._sessions.values():
            session.end(MOVED)
        if self._hosting:
            await asyncio.wait(set(self._hosting.values()))

    def load(self) -> NodeLoad:
        """How much it does."""
        lag_s = self._lag.p99_s()
        count = len(self._sessions)
        capacity = 0 if self._draining else self._admission.room_for(count, lag_s)
        return NodeLoad(count, round(self._admission.cpu, 3), capacity, self._draining, round(lag_s * 1000, 1))

    async def _start(self, new: NewSession, group: asyncio.TaskGroup) -> None:
        room = self._rooms(new.owner_id, new.options, new.state)
        epoch = await self._leases.take(new.session_id, self._node.id)
        lease = Lease(new.session_id, new.owner_id, epoch)
        recorder = self._recorder_for(new.session_id) if new.options.record and self._recorder_for else None
        session = HostedSession(lease, new.options, room, self._leases, self._settings, recorder)
        self._sessions[new.session_id] = session
        self._hosting[new.session_id] = group.create_task(self._host(session), name=f"session-{new.session_id}")
        await session.started()

    async def _host(self, session: HostedSession) -> None:
        """One session from its beginning to its end. Raises nothing but a cancel."""
        session_id = session.lease.session_id
        reason = MOVED
        try:
            reason = await session.run()
        except Exception as error:  # A defect in one room must not end the others.
            log.exception("a live session broke", session_id=str(session_id), exc_info=error)
            reason = "failed"
        finally:
            await asyncio.shield(self._finish(session, reason))
            self._sessions.pop(session_id, None)
            self._hosting.pop(session_id, None)
        log.info("a live session is over here", session_id=str(session_id), reason=reason)

    async def _finish(self, session: HostedSession, reason: str) -> None:
        if reason == "lease_lost":
            return
        try:
            await session.settle(reason)
        except (LeaseLost, NotFound):
            # Somebody else ended it, or has it.
            return
        except OctaviaError as error:
            log.warning("a live session could not be settled", reason=str(error))

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._admission.sample(loop.time(), len(self._sessions))
            await asyncio.sleep(SAMPLE_S)

    async def _tell(self, node: Node) -> None:
        while True:
            count = len(self._sessions)
            load = self._admission.load(count, self._lag.p99_s())
            with suppress(DependencyUnavailable):
                await self._nodes.show(
                    NodeCard(node.id, node.url, count, round(load, 3), self._draining, self._started_at)
                )
            await asyncio.sleep(TELL_S)
