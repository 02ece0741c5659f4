"""InboundSound: the RTP packets of one speaker in, their sound at 16 kHz out, on the sender's timeline."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import numpy as np

from octavia_stream.audio.chunk import ASR_RATE_HZ, Samples
from octavia_stream.audio.resampling import Resampler
from octavia_stream.errors import MediaRejected
from octavia_stream.webrtc.concealment import Concealer
from octavia_stream.webrtc.jitter_buffer import RTP_RATE_HZ, Counts, Gap, JitterBuffer, Packet, Piece
from octavia_stream.webrtc.opus import OpusDecoder, packet_samples


class RtpPacket(Protocol):
    """What of an RTP packet is read."""

    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes


Sink = Callable[[Samples], None]
"""Takes mono float32 at 16 kHz; never blocks."""


class InboundSound:
    """Decodes on the loop: a frame of 20 ms costs a tenth of a millisecond, less than a thread would."""

    def __init__(self, sink: Sink, clock: Callable[[], float] | None = None) -> None:
        """clock: seconds; the loop's if None."""
        self._sink = sink
        self._clock = clock or asyncio.get_running_loop().time
        self._buffer = JitterBuffer()
        self._decoder = OpusDecoder()
        self._concealer = Concealer()
        self._resampler = Resampler(RTP_RATE_HZ, ASR_RATE_HZ)
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.last_packet_at: float | None = None
        """By the clock; None until the first."""
        self.concealed_samples = 0
        """At 48 kHz, made up in the place of packets that were lost."""
        self.samples = 0
        """At 48 kHz, given out in all."""

    @property
    def counts(self) -> Counts:
        return self._buffer.counts

    def receive(self, packet: RtpPacket) -> None:
        """Take a packet that came just now. One that is no Opus counts as lost."""
        samples = packet_samples(packet.payload)
        if self._closed or not samples:
            return
        now = self.last_packet_at = self._clock()
        taken = Packet(packet.sequence_number, packet.timestamp, packet.payload, samples, packet.ssrc)
        self._give(self._buffer.push(taken, now))
        self._set_timer()

    def close(self) -> None:
        """Nothing more comes: what waits goes out. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._give(self._buffer.flush())
        rest = self._resampler.finish(dimensions=1)
        if rest.size:
            self._sink(rest)

    def _due(self) -> None:
        self._timer = None
        self._give(self._buffer.due(self._clock()))
        self._set_timer()

    def _set_timer(self) -> None:
        deadline = self._buffer.deadline
        if deadline is None or self._closed:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif self._timer is None:
            pause = max(deadline - self._clock(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(pause, self._due)

    def _give(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            samples = self._sound(piece)
            self.samples += len(samples)
            ready = self._resampler.push(samples)
            if ready.size:
                self._sink(ready)

    def _sound(self, piece: Piece) -> Samples:
        if isinstance(piece, Gap):
            return self._conceal(piece.samples) if piece.lost else self._concealer.sound(_silence(piece.samples))
        wanted = piece.samples - piece.skip
        try:
            decoded = self._decoder.decode(piece.payload)[piece.skip :]
        except MediaRejected:
            return self._conceal(wanted)
        if len(decoded) != wanted:
            # The timeline is what counts; a decoder that starts may give less.
            decoded = np.concatenate([_silence(max(wanted - len(decoded), 0)), decoded[:wanted]])
        return self._concealer.sound(decoded)

    def _conceal(self, samples: int) -> Samples:
        self.concealed_samples += samples
        return self._concealer.gap(samples)


def _silence(samples: int) -> Samples:
    return np.zeros(samples, np.float32)
