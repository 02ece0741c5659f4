"""What a node of live sessions needs of others: a room, the truth about who has a session, and where nodes tell of
themselves. Small, so that a test can write each in ten lines.
"""

from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeAlias
from uuid import UUID

from octavia_stream.audio.chunk import Samples
from octavia_stream.languages import Language
from octavia_stream.live.events import LiveRecord
from octavia_stream.live.frame import Frame
from octavia_stream.live.options import LiveOptions
from octavia_stream.live.state import RoomLoad, RoomState
from octavia_stream.sessions.registry import NodeCard
from octavia_stream.sessions.session import Beat


class Speaker(Protocol):
    """`octavia_stream.live.speaker.SpeakerInput`."""

    position: int

    def push(self, samples: Samples) -> None: ...

    def leave(self, reason: str) -> None: ...


class Listener(Protocol):
    """`octavia_stream.live.listener.Listener`."""

    def __aiter__(self) -> AsyncIterator[Frame]: ...

    def close(self) -> None: ...


class Room(Protocol):
    """`octavia_stream.live.room.LiveRoom`."""

    async def run(self) -> None: ...

    async def close(self, reason: str) -> None: ...

    def speaker(self, speaker_id: str) -> Speaker: ...

    def listen(self, language: Language) -> Listener: ...

    def events(self, after: int = 0) -> AsyncIterator[LiveRecord]: ...

    def state(self) -> RoomState: ...

    def load(self) -> RoomLoad: ...


RoomFor: TypeAlias = Callable[[UUID, LiveOptions, RoomState | None], Room]
"""Makes the room of a session, given its owner. Raises OctaviaError when its languages or voices are not there."""


class Leases(Protocol):
    """The node's part of `LiveSessionStore`."""

    async def take(self, session_id: UUID, node_id: str) -> int: ...

    async def beat(
        self, session_id: UUID, epoch: int, state: RoomState, heard_s: float, *, speaking: bool | None = None
    ) -> Beat: ...

    async def end(self, session_id: UUID, epoch: int, reason: str, heard_s: float) -> object: ...


class Nodes(Protocol):
    """The node's part of `NodeRegistry`."""

    async def show(self, card: NodeCard) -> None: ...

    async def withdraw(self, node_id: str) -> None: ...
