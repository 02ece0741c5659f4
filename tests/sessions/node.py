"""A live node in this process: real rooms and connections; engines that cost nothing, and leases in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import msgspec
import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection
from pydantic import SecretStr

from octavia_stream.audio.chunk import Samples
from octavia_stream.config import LiveSettings
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.dubbing.engines import local
from octavia_stream.errors import LeaseLost
from octavia_stream.languages import Language
from octavia_stream.live.options import LiveOptions
from octavia_stream.live.room import LiveRoom
from octavia_stream.live.state import RoomState
from octavia_stream.sessions.admission import Admission
from octavia_stream.sessions.endpoint import NodeEndpoint
from octavia_stream.sessions.node_token import node_token
from octavia_stream.sessions.recorder import Recorder
from octavia_stream.sessions.registry import NodeCard
from octavia_stream.sessions.session import Beat
from octavia_stream.sessions.supervisor import Supervisor
from octavia_stream.storage.objects import ObjectStore
from octavia_stream.testing import ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator
from octavia_stream.tts.voice import Voice
from octavia_stream.vad.detector import VAD_FRAME_SAMPLES, Probabilities
from tests.webrtc.clients import ToneTrack, accept, connection, offer

KEY = SecretStr("a key of tests")
SDP = {"Content-Type": "application/sdp"}
PORTUGUESE = {"targets": [{"language": "pt"}], "original": "pass"}
"""Nobody is heard to speak, so the original passes: what comes in goes out."""


class Deaf:
    """A `SpeechDetector` that never hears speech."""

    def push(self, samples: Samples) -> Probabilities:
        return np.zeros(len(samples) // VAD_FRAME_SAMPLES, np.float32)

    def finish(self) -> Probabilities:
        return np.zeros(0, np.float32)


@dataclass
class Leases:
    """As `LiveSessionStore` keeps them, in memory."""

    epochs: dict[UUID, int] = field(default_factory=dict)
    ended: dict[UUID, tuple[str, float]] = field(default_factory=dict)
    states: dict[UUID, RoomState] = field(default_factory=dict)
    speaking: dict[UUID, bool | None] = field(default_factory=dict)
    asked: dict[UUID, str] = field(default_factory=dict)
    """What is to end at its next sign of life, and why."""

    async def take(self, session_id: UUID, node_id: str) -> int:
        self.epochs[session_id] = self.epochs.get(session_id, 0) + 1
        return self.epochs[session_id]

    async def beat(
        self, session_id: UUID, epoch: int, state: RoomState, heard_s: float, *, speaking: bool | None = None
    ) -> Beat:
        if self.epochs[session_id] != epoch:
            raise LeaseLost
        self.states[session_id] = state
        self.speaking[session_id] = speaking
        return Beat(self.asked.get(session_id), None)

    async def end(self, session_id: UUID, epoch: int, reason: str, heard_s: float) -> object:
        if self.epochs[session_id] != epoch:
            raise LeaseLost
        self.ended[session_id] = (reason, heard_s)
        return None


@dataclass
class Registry:
    """The node's card, as others would see it."""

    cards: dict[str, NodeCard] = field(default_factory=dict)

    async def show(self, card: NodeCard) -> None:
        self.cards[card.node_id] = card

    async def withdraw(self, node_id: str) -> None:
        self.cards.pop(node_id, None)


@dataclass
class LiveTestNode:
    """One node, and a way to talk to it as the api does."""

    supervisor: Supervisor
    leases: Leases
    registry: Registry
    http: aiohttp.ClientSession

    async def open(self, options: dict[str, Any] | None = None, state: RoomState | None = None) -> UUID:
        session_id = uuid7()
        body = {"session_id": session_id, "owner_id": uuid4(), "options": options or PORTUGUESE, "state": state}
        async with self.http.post("/sessions", data=msgspec.json.encode(body)) as answer:
            assert answer.status == 201, await answer.text()
        return session_id

    async def speak(self, session_id: UUID, speaker: str = "ana") -> tuple[RTCPeerConnection, str]:
        """A client that speaks a tone, and the id of its connection."""
        client = connection()
        client.addTransceiver(ToneTrack(), direction="sendonly")
        return client, await self.offer(client, f"/sessions/{session_id}/ingest?speaker={speaker}")

    async def listen(self, session_id: UUID, language: str = "pt") -> tuple[RTCPeerConnection, str]:
        """A client that listens, and the id of its connection."""
        client = connection()
        client.addTransceiver("audio", direction="recvonly")
        return client, await self.offer(client, f"/sessions/{session_id}/listen/{language}")

    async def offer(self, client: RTCPeerConnection, path: str) -> str:
        async with self.http.post(path, data=await offer(client), headers=SDP) as answer:
            assert answer.status == 201, await answer.text()
            await accept(client, await answer.text())
            return answer.headers["X-Peer-Id"]


def room(owner_id: UUID, options: LiveOptions, state: RoomState | None) -> LiveRoom:
    """With engines that cost nothing."""
    engines = local(ScriptedTranscriber(), ScriptedTranslator(), ScriptedSynthesizer())
    return LiveRoom(options, engines, Deaf, _voice, state)


def _voice(language: Language, wanted: str | None, taken: object) -> Voice:
    return Voice("scripted/ana", language, "female", "scripted")


@asynccontextmanager
async def live_node(
    objects: ObjectStore | None = None, admission: Admission | None = None, **settings: Any
) -> AsyncIterator[LiveTestNode]:
    """Until the end of the block. settings: of the section `live`."""
    chosen = LiveSettings.model_validate({"max_cpu": 0.0} | settings)
    leases, registry = Leases(), Registry()
    recorder_for = (lambda session_id: Recorder(session_id, objects)) if objects is not None else None
    supervisor = Supervisor(chosen, room, leases, registry, recorder_for, admission)
    headers = {"Authorization": f"Bearer {node_token(KEY)}"}
    async with NodeEndpoint(supervisor, KEY, "127.0.0.1") as endpoint:
        running = asyncio.create_task(supervisor.run(endpoint.node("one")))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{endpoint.port}", headers=headers) as http:
            while not registry.cards:  # noqa: ASYNC110  (it tells of itself at once)
                await asyncio.sleep(0.01)
            yield LiveTestNode(supervisor, leases, registry, http)
        await supervisor.drain()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def hears(track: MediaStreamTrack) -> None:
    """Returns when something is loud enough."""
    async with asyncio.timeout(30):
        while np.abs((await track.recv()).to_ndarray()).max() < 500:  # type: ignore[union-attr]
            continue
