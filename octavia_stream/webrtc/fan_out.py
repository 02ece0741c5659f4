"""FanOut: the frames of one language, encoded once, for every listener of it."""

from collections.abc import AsyncIterable, Callable
from typing import Protocol

from octavia_stream.live.frame import Frame
from octavia_stream.webrtc.opus import OpusEncoder


class PacketReceiver(Protocol):
    """A listener."""

    def offer(self, payload: bytes, position: int) -> None:
        """Take one packet; `position` is its first sample at 48 kHz. Never blocks."""
        ...


class FanOut:
    """One encoder, any number of listeners; without any nothing is encoded."""

    def __init__(self, make_encoder: Callable[[], OpusEncoder] = OpusEncoder) -> None:
        self._encoder = make_encoder()
        self._receivers: set[PacketReceiver] = set()
        self.encoded = 0
        """Packets."""

    def add(self, receiver: PacketReceiver) -> None:
        """From the next frame on."""
        self._receivers.add(receiver)

    def remove(self, receiver: PacketReceiver) -> None:
        """May be called twice."""
        self._receivers.discard(receiver)

    @property
    def receivers(self) -> int:
        """How many listen."""
        return len(self._receivers)

    async def run(self, frames: AsyncIterable[Frame]) -> None:
        """Until the frames end."""
        async for frame in frames:
            if not self._receivers:
                continue
            payload = self._encoder.encode(frame.samples)
            self.encoded += 1
            for receiver in tuple(self._receivers):
                receiver.offer(payload, frame.position)
