"""Peer: one WebRTC connection, through aiortc: offer in, answer out, closed once.

aiortc's own jitter buffer loses 23 % of the frames when 5 % of the packets are lost, and its queue behind the decoder
grows without bound: packets are taken from it before both.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av
import msgspec
import structlog
from aioice.ice import Connection
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidStateError, OperationError
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp

from octavia_stream.errors import InvalidRequest, MediaRejected, NotFound
from octavia_stream.live.events import LiveRecord
from octavia_stream.live.frame import OUTPUT_RATE_HZ
from octavia_stream.webrtc.ice_sockets import SocketRules, advertise, bind_by
from octavia_stream.webrtc.inbound import InboundSound, RtpPacket, Sink
from octavia_stream.webrtc.offer import MOST_CANDIDATES, Direction, Offer, read_offer
from octavia_stream.webrtc.trickle import read_fragment

log = structlog.get_logger(__name__)

CAPTIONS_LABEL = "captions"
MOST_BUFFERED_BYTES = 64 * 1024
"""What may wait to be sent on a data channel; then a slow client reads later."""
BUFFER_POLL_S = 0.1
ANSWER_DEADLINE_S = 5.0
CLOSE_DEADLINE_S = 5.0
WAITING_PACKETS = 25
"""Half a second that a listener's connection may be behind before its oldest packets go."""
_TIME_BASE = Fraction(1, OUTPUT_RATE_HZ)

Follow = Callable[[int], AsyncIterator[LiveRecord]]
"""The records after a number."""


class PacketTrack(MediaStreamTrack):
    """Packets that are encoded already, for one connection."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._packets: deque[tuple[bytes, int]] = deque(maxlen=WAITING_PACKETS)
        self._news = asyncio.Event()
        self._wanted = False
        self.dropped = 0

    def offer(self, payload: bytes, position: int) -> None:
        """As `PacketReceiver.offer`. Before the connection stands, packets go nowhere: nobody wants old ones."""
        if not self._wanted or self.readyState != "live":
            return
        self.dropped += len(self._packets) == self._packets.maxlen
        self._packets.append((payload, position))
        self._news.set()

    async def recv(self) -> "av.Packet[Any]":
        """For aiortc's sender."""
        self._wanted = True
        while not self._packets:
            if self.readyState != "live":
                raise MediaStreamError
            self._news.clear()
            await self._news.wait()
        payload, position = self._packets.popleft()
        packet = av.Packet(payload)
        packet.pts = position
        packet.time_base = _TIME_BASE
        return packet

    def stop(self) -> None:
        super().stop()
        self._news.set()


class _Tap:
    """Stands in the place of aiortc's jitter buffer: hands packets over and never has a frame to decode."""

    def __init__(self, receive: Callable[[RtpPacket], None]) -> None:
        self._receive = receive

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        self._receive(packet)
        return False, None


class Peer:
    """One connection of a client: somebody who speaks, or somebody who listens."""

    def __init__(
        self,
        direction: Direction,
        rules: SocketRules,
        *,
        sink: Sink | None = None,
        track: PacketTrack | None = None,
        follow: Follow | None = None,
    ) -> None:
        """sink: takes what is spoken, for `ingest`; track: what is heard, for `listen`; follow: captions."""
        self.id = secrets.token_urlsafe(16)
        self.etag = f'"{secrets.token_hex(8)}"'
        self.direction = direction
        self.track = track
        self.created_at = asyncio.get_running_loop().time()
        self.inbound = InboundSound(sink) if sink is not None else None
        self._rules = rules
        self._follow = follow
        # No servers: without the argument, aiortc asks one of Google's.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._channel: asyncio.Task[None] | None = None
        self._ice_ufrag = ""
        self.sends_sound = False
        """Whether the answer promised sound; a listener may want captions alone."""
        self._mid: str | None = None
        self._candidates = 0
        self._closed = False
        self._connection.on("datachannel", self._open_channel)

    @property
    def state(self) -> str:
        """Of the connection: `new`, `connecting`, `connected`, `failed` or `closed`."""
        return "closed" if self._closed else self._connection.connectionState

    @property
    def heard_at(self) -> float | None:
        """When the last packet of sound came, by the loop's clock."""
        return None if self.inbound is None else self.inbound.last_packet_at

    async def answer(self, sdp: str) -> str:
        """Take the offer; the answer has all our candidates. Closes the peer when it raises.

        Raises MediaTooLarge, InvalidRequest, MediaRejected, Overloaded (no port is free).
        """
        try:
            offer = read_offer(sdp, self.direction)
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                return await self._negotiate(offer)
        except (ValueError, OperationError, InvalidStateError, TimeoutError) as error:
            await self.close()
            raise MediaRejected("The offer cannot be answered: its codecs or transports are none of ours.") from error
        except BaseException:
            await self.close()
            raise

    async def trickle(self, fragment: str) -> None:
        """Take further candidates. Raises InvalidRequest, MediaRejected (an ICE restart), NotFound (it is closed)."""
        if self._closed:
            raise NotFound("This connection is closed.")
        read = read_fragment(fragment)
        if read.ice_ufrag is not None and read.ice_ufrag != self._ice_ufrag:
            raise MediaRejected("ICE cannot be restarted here; connect anew.")
        for line in read.candidates:
            self._candidates += 1
            if self._candidates > MOST_CANDIDATES:
                return
            await self._add_candidate(line)

    async def close(self) -> None:
        """Let go of the sockets. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if self.inbound is not None:
            self.inbound.close()
        if self.track is not None:
            self.track.stop()
        if self._channel is not None:
            self._channel.cancel()
            await asyncio.gather(self._channel, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                await self._connection.close()
        except TimeoutError:
            log.warning("a connection did not close in time", peer=self.id)

    async def _negotiate(self, offer: Offer) -> str:
        self._ice_ufrag = offer.ice_ufrag
        self.sends_sound = offer.audio and self.track is not None
        if offer.audio:
            self._add_audio()
        if offer.video:
            # Not refused, for an offer is taken whole or not at all (RFC 9725, section 4.2); nothing is sent, though.
            self._connection.addTransceiver("video", direction="inactive")
        await self._connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        for gatherer in self._gatherers():
            bind_by(self._rules, gatherer)
        self._mid = self._primary_mid()
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return advertise(self._connection.localDescription.sdp, self._rules.public_address)

    def _add_audio(self) -> None:
        if self.track is not None:
            transceiver = self._connection.addTransceiver(self.track, direction="sendonly")
        else:
            transceiver = self._connection.addTransceiver("audio", direction="recvonly")
        known = RTCRtpReceiver.getCapabilities("audio")
        transceiver.setCodecPreferences([each for each in known.codecs if each.name == "opus"] if known else [])
        if self.inbound is not None:
            _tap(transceiver, self.inbound)

    def _gatherers(self) -> list[Connection]:
        connection = self._connection
        transports = {transceiver.receiver.transport for transceiver in connection.getTransceivers()}
        if connection.sctp is not None:
            transports.add(connection.sctp.transport)
        return [transport.transport.iceGatherer._connection for transport in transports]

    def _primary_mid(self) -> str | None:
        """The section whose transport the others share."""
        unbundled = [each.mid for each in self._connection.getTransceivers() if not each._bundled]
        sctp = self._connection.sctp
        if sctp is not None and not sctp._bundled:
            unbundled.append(sctp.mid)
        return unbundled[0] if unbundled else None

    async def _add_candidate(self, line: str) -> None:
        try:
            candidate = candidate_from_sdp(line)
        except (ValueError, LookupError, AssertionError) as error:
            raise InvalidRequest("A candidate is not valid.") from error
        candidate.sdpMid = self._mid
        with suppress(ValueError):
            await self._connection.addIceCandidate(candidate)

    def _open_channel(self, channel: RTCDataChannel) -> None:
        """A data channel of the client's: captions go out on the first that is called so; others are closed."""
        if channel.label != CAPTIONS_LABEL or self._follow is None or self._channel is not None or self._closed:
            channel.close()
            return
        self._channel = asyncio.create_task(self._send_captions(channel, self._follow), name="captions")

    async def _send_captions(self, channel: RTCDataChannel, follow: Follow) -> None:
        encoder = msgspec.json.Encoder()
        with suppress(InvalidStateError):
            async for record in follow(_after(channel.protocol)):
                while channel.bufferedAmount > MOST_BUFFERED_BYTES and channel.readyState == "open":  # noqa: ASYNC110
                    await asyncio.sleep(BUFFER_POLL_S)
                if channel.readyState not in ("connecting", "open"):
                    return
                channel.send(encoder.encode(record).decode())


def _tap(transceiver: RTCRtpTransceiver, inbound: InboundSound) -> None:
    # The receiver's statistics, and so its RTCP reports, stay as they are; only what it would decode is taken away.
    setattr(transceiver.receiver, "_RTCRtpReceiver__jitter_buffer", _Tap(inbound.receive))  # noqa: B010  (private)


def _after(protocol: str) -> int:
    """Whoever comes back opens the channel with the protocol `after=` and the number it had last; else -1."""
    name, _, number = protocol.partition("=")
    return int(number) if name == "after" and number.isdecimal() and len(number) < 16 else -1
