"""Sound over a WebSocket: PCM of 16 bits, little-endian, mono, at the 24 kHz of OpenAI's realtime protocol."""

from collections.abc import AsyncIterator, Callable

import numpy as np

from octavia_stream.audio.chunk import ASR_RATE_HZ, Samples
from octavia_stream.audio.resampling import Resampler
from octavia_stream.live.frame import OUTPUT_RATE_HZ
from octavia_stream.sessions.ports import Listener

SOCKET_RATE_HZ = 24_000


class SocketEars:
    """What a client sends, for a room."""

    def __init__(self, sink: Callable[[Samples], None] | None) -> None:
        """sink: takes mono float32 at 16 kHz; None hears nothing."""
        self._sink = sink
        self._resampler = Resampler(SOCKET_RATE_HZ, ASR_RATE_HZ)
        self._odd = b""

    def hear(self, pcm: bytes) -> None:
        """Take a message; one may end in the middle of a sample."""
        if self._sink is None:
            return
        pcm = self._odd + pcm
        whole = len(pcm) // 2 * 2
        self._odd = pcm[whole:]
        samples = np.frombuffer(pcm[:whole], "<i2").astype(np.float32) / 32768.0
        self._give(self._resampler.push(samples))

    def finish(self) -> None:
        """No more comes."""
        if self._sink is not None:
            self._give(self._resampler.finish(dimensions=1))
            self._sink = None

    def _give(self, samples: Samples) -> None:
        if samples.size and self._sink is not None:
            self._sink(samples)


class SocketVoice:
    """What a room says, for a client: iterate it for messages."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._resampler = Resampler(OUTPUT_RATE_HZ, SOCKET_RATE_HZ)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for frame in self._listener:
            samples = self._resampler.push(frame.samples.astype(np.float32) / 32768.0)
            if samples.size:
                yield (np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()
