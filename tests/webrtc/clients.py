"""aiortc as a client: somebody who speaks a tone, somebody who listens."""

import asyncio
from fractions import Fraction

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

RATE_HZ = 48_000
FRAME = 960


class ToneTrack(MediaStreamTrack):
    """A tone in frames of 20 ms, as fast as `speed` times real time, until `frames` were sent; then nothing."""

    kind = "audio"

    def __init__(self, frames: int = 1_000_000, speed: float = 1.0, frequency_hz: float = 200.0) -> None:
        super().__init__()
        self.sent = 0
        self._frames = frames
        self._pause_s = FRAME / RATE_HZ / speed
        self._frequency_hz = frequency_hz
        self._began: float | None = None

    async def recv(self) -> av.AudioFrame:
        """For aiortc."""
        loop = asyncio.get_running_loop()
        self._began = self._began if self._began is not None else loop.time()
        await asyncio.sleep(max(self._began + self.sent * self._pause_s - loop.time(), 0))
        if self.sent == self._frames:
            await asyncio.Event().wait()
        frame = tone_frame(self.sent, self._frequency_hz)
        self.sent += 1
        return frame


def tone_frame(number: int, frequency_hz: float = 200.0) -> av.AudioFrame:
    """One of 20 ms, so that frames in order are one tone."""
    moments = (np.arange(FRAME) + number * FRAME) / RATE_HZ
    samples = (8000 * np.sin(2 * np.pi * frequency_hz * moments)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = RATE_HZ
    frame.pts = number * FRAME
    frame.time_base = Fraction(1, RATE_HZ)
    return frame


def connection() -> RTCPeerConnection:
    """Without any server."""
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def offer(client: RTCPeerConnection) -> str:
    """With all candidates."""
    await client.setLocalDescription(await client.createOffer())
    return client.localDescription.sdp


async def accept(client: RTCPeerConnection, answer: str) -> None:
    """What the server answered."""
    await client.setRemoteDescription(RTCSessionDescription(answer, "answer"))


async def until(holds: "object", seconds: float = 30.0) -> None:
    """Wait for a condition, given as a function."""
    async with asyncio.timeout(seconds):
        while not holds():  # type: ignore[operator]  # noqa: ASYNC110  (the other side is a network)
            await asyncio.sleep(0.02)
