"""The other side of a live session: who speaks into it by WHIP, and who listens to it by WHEP, from Python.

For the command line and the benchmarks. Browsers have their own, `api/web/peer.js`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from fractions import Fraction

import httpx
import msgspec
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.errors import DependencyUnavailable
from octavia_stream.live.events import LiveRecord
from octavia_stream.live.frame import FRAME_SAMPLES, OUTPUT_RATE_HZ, PcmSamples

CONNECT_DEADLINE_S = 15.0
CAPTIONS = "captions"
"""The data channel that records come on."""


class SpokenTrack(MediaStreamTrack):
    """Sound that is spoken in real time from `go` on; silence before it, and after it until the track is stopped."""

    kind = "audio"

    def __init__(self, sound: AsyncIterator[AudioChunk]) -> None:
        """sound: mono at 48 kHz, in order, as fast as it is asked for."""
        super().__init__()
        self._sound = sound
        self._rest: PcmSamples = np.zeros(0, np.int16)
        self._position = 0
        self._started_at = 0.0
        self.go = asyncio.Event()
        """Set it when everybody is there who should hear it all."""
        self.spoken_at = 0.0
        """When the first sample of the sound was due, by `time.monotonic`; 0 before that."""
        self.over = asyncio.Event()
        """Set when the last sample of the sound has been given."""

    @property
    def position_s(self) -> float:
        """How much was spoken so far, silence before and after included."""
        return self._position / OUTPUT_RATE_HZ

    async def recv(self) -> AudioFrame:
        """The next 20 ms, when it is their time."""
        if self.readyState != "live":
            raise MediaStreamError
        samples = await self._next() if self.go.is_set() else np.zeros(FRAME_SAMPLES, np.int16)
        self._started_at = self._started_at or time.monotonic()
        due_at = self._started_at + self.position_s
        if self.go.is_set():
            self.spoken_at = self.spoken_at or due_at
        await asyncio.sleep(due_at - time.monotonic())
        frame = AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = OUTPUT_RATE_HZ
        frame.pts, frame.time_base = self._position, Fraction(1, OUTPUT_RATE_HZ)
        self._position += FRAME_SAMPLES
        return frame

    async def _next(self) -> PcmSamples:
        while len(self._rest) < FRAME_SAMPLES and not self.over.is_set():
            chunk = await anext(self._sound, None)
            if chunk is None:
                self.over.set()
            else:
                pcm = np.clip(np.rint(chunk.samples * 32767), -32768, 32767).astype(np.int16)
                self._rest = np.concatenate([self._rest, pcm])
        samples, self._rest = self._rest[:FRAME_SAMPLES], self._rest[FRAME_SAMPLES:]
        return samples if len(samples) == FRAME_SAMPLES else np.pad(samples, (0, FRAME_SAMPLES - len(samples)))


@asynccontextmanager
async def speaking(
    http: httpx.AsyncClient, url: str, token: str, track: SpokenTrack, servers: list[RTCIceServer]
) -> AsyncIterator[RTCPeerConnection]:
    """Publish a track by WHIP for as long as the context lasts. Raises DependencyUnavailable."""
    async with _connection(servers) as peer:
        peer.addTrack(track)
        async with _resource(http, url, token, peer):
            try:
                yield peer
            finally:
                track.stop()


@asynccontextmanager
async def listening(
    http: httpx.AsyncClient,
    url: str,
    token: str,
    heard: Callable[[AudioFrame], None],
    told: Callable[[LiveRecord], None],
    servers: list[RTCIceServer],
) -> AsyncIterator[RTCPeerConnection]:
    """Receive one language by WHEP for as long as the context lasts. Raises DependencyUnavailable.

    heard: gets each decoded frame (48 kHz, 16 bit); told: what comes on the data channel.
    """
    async with _connection(servers) as peer:
        receiver = peer.addTransceiver("audio", direction="recvonly").receiver
        channel = peer.createDataChannel(CAPTIONS)
        channel.on("message", lambda text: told(msgspec.json.decode(text, type=LiveRecord)))
        async with _resource(http, url, token, peer):
            taking = asyncio.create_task(_take(receiver.track, heard), name="listen")
            try:
                yield peer
            finally:
                taking.cancel()
                await asyncio.gather(taking, return_exceptions=True)


def mono(frame: AudioFrame) -> PcmSamples:
    """The samples of a frame of 16 bit, packed or planar, one channel or two; shape (n,)."""
    channels = len(frame.layout.channels)
    samples = frame.to_ndarray()
    packed = samples.reshape(-1, channels) if samples.shape[0] == 1 else samples.T
    return np.asarray(packed.astype(np.int32).mean(axis=1).round(), np.int16)


async def _take(track: MediaStreamTrack, heard: Callable[[AudioFrame], None]) -> None:
    with suppress(MediaStreamError):
        while True:
            frame = await track.recv()
            if isinstance(frame, AudioFrame):
                heard(frame)


@asynccontextmanager
async def _connection(servers: list[RTCIceServer]) -> AsyncIterator[RTCPeerConnection]:
    # An empty list, too, has to be said: without one aiortc asks a public STUN server.
    peer = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    try:
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def _resource(http: httpx.AsyncClient, url: str, token: str, peer: RTCPeerConnection) -> AsyncIterator[None]:
    """Offer, take the answer, wait for the connection; delete the resource at the end."""
    await peer.setLocalDescription(await peer.createOffer())
    bearer = {"Authorization": f"Bearer {token}"}
    answer = await _answered(http, url, bearer, peer.localDescription.sdp)
    try:
        await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        await _connected(peer)
        yield
    finally:
        with suppress(httpx.TransportError):
            await http.delete(answer.headers["Location"], headers=bearer)


async def _answered(http: httpx.AsyncClient, url: str, bearer: dict[str, str], offer: str) -> httpx.Response:
    """Offer until there is something to listen to. Raises DependencyUnavailable."""
    clock = asyncio.get_running_loop().time
    until = clock() + CONNECT_DEADLINE_S
    while True:
        try:
            answer = await http.post(url, content=offer, headers={**bearer, "Content-Type": "application/sdp"})
        except httpx.TransportError as error:
            raise DependencyUnavailable("The server does not answer.") from error
        if answer.status_code == httpx.codes.CREATED:
            return answer
        if answer.status_code != httpx.codes.CONFLICT or clock() > until:
            raise DependencyUnavailable(
                f"The server did not take the connection ({answer.status_code}): {_reason(answer)}"
            )
        await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError):
        return "no reason given"


async def _connected(peer: RTCPeerConnection) -> None:
    """Raises DependencyUnavailable when there is no way to the other side."""
    changed = asyncio.Event()
    peer.on("connectionstatechange", changed.set)
    try:
        async with asyncio.timeout(CONNECT_DEADLINE_S):
            while peer.connectionState not in ("connected", "failed", "closed"):
                changed.clear()
                await changed.wait()
    except TimeoutError as error:
        raise DependencyUnavailable("The media connection was not made in time.") from error
    if peer.connectionState != "connected":
        raise DependencyUnavailable("The media connection failed; a firewall may be in the way.")
