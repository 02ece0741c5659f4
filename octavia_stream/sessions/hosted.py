"""HostedSession: one live session on the node that has it: its room, its connections, its recording, its lease."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from octavia_stream.audio.chunk import Samples
from octavia_stream.config import LiveSettings
from octavia_stream.errors import Conflict, DependencyUnavailable, LeaseLost, NotFound, OctaviaError, Overloaded
from octavia_stream.languages import Language
from octavia_stream.live.events import LiveRecord
from octavia_stream.live.options import LiveOptions
from octavia_stream.sessions.line import Line
from octavia_stream.sessions.ports import Leases, Listener, Room
from octavia_stream.sessions.recorder import FINISH_S, Recorder
from octavia_stream.sessions.session import BEAT_S, UNUSED_S
from octavia_stream.webrtc.fan_out import FanOut
from octavia_stream.webrtc.ice_sockets import SocketRules
from octavia_stream.webrtc.peer import PacketTrack, Peer

WATCH_S = 0.5
CONNECT_S = 15.0
"""A listener's connection that does not stand after this is given up."""
ROOM_CLOSE_S = 10.0
"""How long a room may take to speak out what was said."""
END_TRIES = 5
MOVED = "moved"
"""Ends a session's stay on this node, and not the session."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """To an offer."""

    peer_id: str
    etag: str
    sdp: str


@dataclass(frozen=True, slots=True)
class Lease:
    """By what right a node has a session."""

    session_id: UUID
    owner_id: UUID
    epoch: int


class HostedSession:
    """`run` owns its tasks, and returns when the session is over here."""

    def __init__(
        self,
        lease: Lease,
        options: LiveOptions,
        room: Room,
        leases: Leases,
        settings: LiveSettings,
        recorder: Recorder | None = None,
    ) -> None:
        self.lease = lease
        self.room = room
        self.options = options
        self._leases = leases
        self._settings = settings
        self._rules = socket_rules(settings)
        self._recorder = recorder
        self._clock = asyncio.get_running_loop().time
        self._silent_since = self._clock()
        self._spoke = room.load().heard_s > 0
        self._lines: dict[str, Line] = {}
        self._peers: dict[str, Peer] = {}
        self._fans: dict[Language, tuple[FanOut, Listener, asyncio.Task[None]]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._started = asyncio.Event()
        self._over = asyncio.Event()
        self._reason = "closed"

    # What clients do

    async def ingest(self, speaker_id: str, sdp: str) -> Answer:
        """A speaker's offer. One who is connected already moves to the new connection.

        Raises Overloaded (too many speakers), and what `Peer.answer` raises.
        """
        self._require_open()
        if speaker_id not in self._lines and len(self._lines) >= self._settings.speakers_per_session:
            raise Overloaded(f"A session hears {self._settings.speakers_per_session} speakers at once at most.")
        line: Line | None = None

        def hear(samples: Samples) -> None:
            if line is not None:
                line.push(samples)

        peer = Peer("ingest", self._rules, sink=hear, follow=self.events)
        answer = await self._connect(peer, sdp)
        line = await self._open_line(speaker_id, peer)
        return answer

    async def listen(self, language: Language, sdp: str) -> Answer:
        """A listener's offer. Raises NotFound (no such language), Overloaded, and what `Peer.answer` raises."""
        self._require_open()
        self._require_language(language)
        listeners = sum(peer.direction == "listen" for peer in self._peers.values())
        if listeners >= self._settings.listeners_per_session:
            raise Overloaded(f"A session has {self._settings.listeners_per_session} listeners at once at most.")
        track = PacketTrack()
        peer = Peer("listen", self._rules, track=track, follow=self.events)
        answer = await self._connect(peer, sdp)
        try:
            if peer.sends_sound:
                self._fan(language).add(track)
        except OctaviaError:
            await self._remove(peer, "refused")
            raise
        return answer

    async def open_socket(self, speaker_id: str) -> Line:
        """A speaker on a WebSocket. Raises Overloaded."""
        self._require_open()
        if speaker_id not in self._lines and len(self._lines) >= self._settings.speakers_per_session:
            raise Overloaded(f"A session hears {self._settings.speakers_per_session} speakers at once at most.")
        return await self._open_line(speaker_id, None)

    async def trickle(self, peer_id: str, fragment: str) -> None:
        """Raises NotFound, and what `Peer.trickle` raises."""
        await self.peer(peer_id).trickle(fragment)

    async def hang_up(self, peer_id: str) -> None:
        """A client says goodbye. Raises NotFound."""
        await self._remove(self.peer(peer_id), "left")

    def peer(self, peer_id: str) -> Peer:
        """Raises NotFound."""
        peer = self._peers.get(peer_id)
        if peer is None:
            raise NotFound("There is no such connection.")
        return peer

    def peers(self) -> Sequence[Peer]:
        """All there are."""
        return tuple(self._peers.values())

    def events(self, after: int) -> AsyncIterator[LiveRecord]:
        """Records with a higher number; below 0: from now on."""
        return self.room.events(self.room.state().seq if after < 0 else after)

    @property
    def speaking(self) -> bool:
        """Whether somebody who may be heard is connected."""
        return any(line.speaking for line in self._lines.values())

    # Its life

    async def run(self) -> str:
        """Until `end`, or until nobody comes back. Returns why; raises what a defect of the room raises."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                room = group.create_task(self.room.run(), name="room")
                room.add_done_callback(lambda _: self.end("closed"))
                tasks = [
                    group.create_task(self._watch(), name="watch"),
                    group.create_task(self._beat(), name="beat"),
                ]
                recording = group.create_task(self._recorder.run(), name="recorder") if self._recorder else None
                self._started.set()
                await self._over.wait()
                for task in tasks:
                    task.cancel()
                await self._close(room, recording)
        finally:
            self._over.set()
            await self._hang_up_all()
        return self._reason

    async def started(self) -> None:
        """Returns when it may be used."""
        await self._started.wait()

    def end(self, reason: str) -> None:
        """Let `run` come to its end. May be called twice."""
        if not self._over.is_set():
            self._reason = reason
            self._over.set()

    async def settle(self, reason: str) -> None:
        """Write that the session is over, or only that it left this node."""
        heard_s = self.room.load().heard_s
        session_id, epoch = self.lease.session_id, self.lease.epoch
        for attempt in range(END_TRIES):
            try:
                if reason == MOVED:
                    await self._leases.beat(session_id, epoch, self.room.state(), heard_s, speaking=False)
                else:
                    await self._leases.end(session_id, epoch, reason, heard_s)
            except DependencyUnavailable:
                await asyncio.sleep(BEAT_S * attempt)
            else:
                return
        log.warning("a live session could not be settled; the sweep will do it", session_id=str(session_id))

    def _require_open(self) -> None:
        if self._over.is_set():
            raise Conflict("This live session is about to end.")

    def _require_language(self, language: Language) -> None:
        if all(target.language != language for target in self.options.targets):
            raise NotFound(f"This session does not go out in '{language}'.")

    async def _connect(self, peer: Peer, sdp: str) -> Answer:
        self._peers[peer.id] = peer
        try:
            sdp = await peer.answer(sdp)
        except BaseException:
            self._peers.pop(peer.id, None)
            raise
        if self._over.is_set():
            await self._remove(peer, "closed")
            raise Conflict("This live session is about to end.")
        return Answer(peer.id, peer.etag, sdp)

    async def _open_line(self, speaker_id: str, peer: Peer | None) -> Line:
        before = self._lines.get(speaker_id)
        record = self._recorder.push if self._recorder is not None else None
        line = self._lines[speaker_id] = Line(speaker_id, self.room.speaker(speaker_id), record, peer)
        if before is not None:
            before.close(None)
            if before.peer is not None:
                await self._remove(before.peer, "replaced")
        return line

    def close_line(self, line: Line, reason: str) -> None:
        """A line is no more."""
        line.close(reason)
        if self._lines.get(line.speaker_id) is line:
            del self._lines[line.speaker_id]
            self._spoke = self._spoke or line.speaking
            if not self._lines:
                self._silent_since = self._clock()

    async def _remove(self, peer: Peer, reason: str) -> None:
        self._peers.pop(peer.id, None)
        if peer.track is not None:
            for language, (fan, _, _) in tuple(self._fans.items()):
                fan.remove(peer.track)
                if not fan.receivers:
                    self._stop_fan(language)
        # What the jitter buffer still has is said before the speaker leaves.
        if peer.inbound is not None:
            peer.inbound.close()
        for line in [line for line in self._lines.values() if line.peer is peer]:
            self.close_line(line, reason)
        await peer.close()

    def _fan(self, language: Language) -> FanOut:
        if language not in self._fans:
            if self._group is None:
                raise Conflict("This live session has not begun.")
            fan, listener = FanOut(), self.room.listen(language)
            task = self._group.create_task(fan.run(listener), name=f"fan-out-{language}")
            self._fans[language] = (fan, listener, task)
        return self._fans[language][0]

    def _stop_fan(self, language: Language) -> None:
        _, listener, task = self._fans.pop(language)
        listener.close()
        task.cancel()

    async def _watch(self) -> None:
        """Give up connections that are lost, and the session when nobody comes back."""
        while True:
            await asyncio.sleep(WATCH_S)
            for line in tuple(self._lines.values()):
                if (reason := line.lost()) is not None:
                    self.close_line(line, reason)
                    if line.peer is not None:
                        await self._remove(line.peer, reason)
            for peer in self.peers():
                if self._is_lost(peer):
                    await self._remove(peer, "lost")
            patience = self._settings.resume_s if self._spoke else UNUSED_S
            if not self._lines and self._clock() - self._silent_since > patience:
                self.end("lost" if self._spoke else "nobody_came")

    def _is_lost(self, peer: Peer) -> bool:
        late = self._clock() - peer.created_at > CONNECT_S
        return peer.state in ("failed", "closed") or (late and peer.state != "connected")

    async def _beat(self) -> None:
        """Keep the lease, and end the session when it is lost or somebody asked for its end."""
        while True:
            await asyncio.sleep(BEAT_S)
            heard_s = self.room.load().heard_s
            try:
                beat = await self._leases.beat(
                    self.lease.session_id, self.lease.epoch, self.room.state(), heard_s, speaking=self.speaking
                )
            except DependencyUnavailable as error:
                # Nobody else can take the session either: it goes on.
                log.warning("a live session could not say that it lives", reason=str(error))
                continue
            except LeaseLost:
                self.end("lease_lost")
                return
            if beat.ending is not None:
                self.end(beat.ending)
                return

    async def _close(self, room: asyncio.Task[None], recording: asyncio.Task[None] | None) -> None:
        for line in tuple(self._lines.values()):
            if line.peer is not None and line.peer.inbound is not None:
                line.peer.inbound.close()
            self.close_line(line, self._reason)
        await self.room.close(self._reason)
        # Listeners hear what was committed; then their connections go.
        await asyncio.wait({room}, timeout=ROOM_CLOSE_S)
        room.cancel()
        for language in tuple(self._fans):
            self._stop_fan(language)
        if self._recorder is not None and recording is not None:
            self._recorder.finish()
            await asyncio.wait({recording}, timeout=FINISH_S)
            recording.cancel()

    async def _hang_up_all(self) -> None:
        await asyncio.gather(*(self._remove(peer, self._reason) for peer in self.peers()), return_exceptions=True)


def socket_rules(settings: LiveSettings) -> SocketRules:
    """Where WebRTC binds its sockets."""
    return SocketRules(
        settings.media_host, settings.media_port_first, settings.media_port_last, settings.public_address
    )
