"""Jitter buffer: RTP packets as the network brings them in, the same sound in order and on time out.

No socket, no loop, no codec. The timeline is the sender's: what comes out, packets and gaps together, lasts exactly as
long as the RTP timestamps say (RFC 3550, section 5.1), whatever was lost, doubled or late. A packet in its turn goes
out at once, so the buffer delays nothing while nothing is missing; a missing one is waited for, and then given up.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

RTP_RATE_HZ = 48_000
"""Opus counts at 48 kHz whatever it codes (RFC 7587)."""
PATIENCE_S = 0.08
"""How long a missing packet is waited for: four frames of 20 ms. Within the 60 to 120 ms that a live call may spend."""
CAPACITY = 256
"""Packets that may wait behind a missing one."""
LONGEST_LEAP = 5 * RTP_RATE_HZ
"""A timestamp further away than this is another timeline, and not a gap."""
_WRAP = 1 << 32
_SEQUENCE_WRAP = 1 << 16


@dataclass(frozen=True, slots=True)
class Packet:
    """What of an RTP packet matters here."""

    sequence: int
    """16 bits."""
    timestamp: int
    """32 bits, at 48 kHz."""
    payload: bytes
    samples: int
    """How long it sounds, at 48 kHz; above 0."""
    source: int = 0
    """SSRC: another one is another timeline."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A packet in its turn."""

    payload: bytes
    samples: int
    skip: int = 0
    """So many of its samples came before, and are to be left out."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Time of which there is no packet."""

    samples: int
    lost: bool
    """Packets were sent and did not come; else the sender had nothing to say (DTX)."""


Piece: TypeAlias = Sound | Gap


@dataclass(slots=True)
class Counts:
    """What became of packets."""

    received: int = 0
    lost: int = 0
    """Given up."""
    late: int = 0
    """Came after they were given up, or twice."""
    timelines: int = 1


@dataclass(frozen=True, slots=True)
class _Waiting:
    packet: Packet
    sequence: int
    """Unwrapped, as the timestamp that it is kept under is."""
    arrived: float


class JitterBuffer:
    """One sender's packets. `now` is a clock's seconds; it only ever grows."""

    def __init__(self, patience_s: float = PATIENCE_S, capacity: int = CAPACITY) -> None:
        self.counts = Counts()
        self._patience_s = patience_s
        self._capacity = capacity
        self._waiting: dict[int, _Waiting] = {}
        self._source: int | None = None
        self._next: int | None = None
        """Where the timeline goes on; None until the first packet goes out."""
        self._sequence = 0
        """Of the packet that went out last."""
        self._newest_timestamp = 0
        self._newest_sequence = 0
        self._last_arrival = 0.0

    @property
    def deadline(self) -> float | None:
        """When `due` should be asked next; None while nothing waits."""
        if not self._waiting:
            return None
        return min(held.arrived for held in self._waiting.values()) + self._patience_s

    def push(self, packet: Packet, now: float) -> list[Piece]:
        """Take a packet; what can go out now."""
        self.counts.received += 1
        pieces: list[Piece] = []
        if self._is_another_timeline(packet):
            pieces = self._change_timeline(packet, now)
        timestamp = self._newest_timestamp + _signed(packet.timestamp - self._newest_timestamp, _WRAP)
        sequence = self._newest_sequence + _signed(packet.sequence - self._newest_sequence, _SEQUENCE_WRAP)
        self._newest_timestamp = max(self._newest_timestamp, timestamp)
        self._newest_sequence = max(self._newest_sequence, sequence)
        self._last_arrival = now
        over = self._next is not None and timestamp + packet.samples <= self._next
        if over or timestamp in self._waiting:
            self.counts.late += 1
        else:
            self._waiting[timestamp] = _Waiting(packet, sequence, now)
        return pieces + self.due(now)

    def due(self, now: float) -> list[Piece]:
        """What has waited long enough, and all that follows it without another gap."""
        pieces: list[Piece] = []
        while self._waiting:
            timestamp = min(self._waiting)
            if not self._is_its_turn(timestamp, now):
                break
            pieces += self._take(timestamp)
        return pieces

    def flush(self) -> list[Piece]:
        """No packet comes any more: all that waits."""
        return self.due(math.inf)

    def _is_its_turn(self, timestamp: int, now: float) -> bool:
        held = self._waiting[timestamp]
        if self._next is not None and (timestamp <= self._next or held.sequence == self._sequence + 1):
            # The next in number: what lies between the timestamps was never sent.
            return True
        first = min(waiting.arrived for waiting in self._waiting.values())
        return now >= first + self._patience_s or len(self._waiting) > self._capacity

    def _take(self, timestamp: int) -> list[Piece]:
        held = self._waiting.pop(timestamp)
        reached = timestamp if self._next is None else self._next
        missing = 0 if self._next is None else max(held.sequence - self._sequence - 1, 0)
        pieces: list[Piece] = []
        if timestamp > reached:
            pieces.append(Gap(timestamp - reached, lost=missing > 0))
            self.counts.lost += missing
        end = timestamp + held.packet.samples
        if end > reached:
            pieces.append(Sound(held.packet.payload, held.packet.samples, max(reached - timestamp, 0)))
        else:
            # Packets of other lengths in between had covered it.
            self.counts.late += 1
        self._next = max(end, reached)
        self._sequence = max(held.sequence, self._sequence)
        return pieces

    def _is_another_timeline(self, packet: Packet) -> bool:
        if self._source is None or packet.source != self._source:
            return True
        return abs(_signed(packet.timestamp - self._newest_timestamp, _WRAP)) > LONGEST_LEAP

    def _change_timeline(self, packet: Packet, now: float) -> list[Piece]:
        """Begin anew at this packet; the time that passed since the last one came is a gap."""
        first = self._source is None
        pieces = self.flush()
        self._source = packet.source
        self._newest_timestamp = packet.timestamp
        self._newest_sequence = packet.sequence
        if first:
            return pieces
        self.counts.timelines += 1
        passed = min(round((now - self._last_arrival) * RTP_RATE_HZ), LONGEST_LEAP) - packet.samples
        if passed > 0:
            pieces.append(Gap(passed, lost=True))
        self._next = packet.timestamp
        self._sequence = packet.sequence - 1
        return pieces


def _signed(difference: int, wrap: int) -> int:
    """A difference of two numbers that wrap, as the nearer of its two meanings."""
    return (difference + wrap // 2) % wrap - wrap // 2
