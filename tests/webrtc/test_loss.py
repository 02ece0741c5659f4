"""Sound through a network that loses, doubles and delays packets: real peers, and a relay between them."""

import asyncio
from contextlib import AsyncExitStack

import numpy as np

from octavia_stream.webrtc.ice_sockets import SocketRules
from octavia_stream.webrtc.peer import Peer
from tests.webrtc.clients import ToneTrack, accept, connection, offer, until
from tests.webrtc.relay import LossyRelay, first_address, through

FRAMES = 240
SPEED = 4.0
"""Five seconds of sound in a little more than one: the buffer's patience counts in the packets' own pace."""
DELIVERED = {0.01: 0.99, 0.05: 0.98, 0.20: 0.90}


async def speak_through(loss: float, *, doubled: float = 0.0, reordered: float = 0.0) -> tuple[Peer, np.ndarray]:
    """What a server hears of a tone of `FRAMES` frames; the last packet arrives."""
    heard: list[np.ndarray] = []
    peer = Peer("ingest", SocketRules(), sink=heard.append)
    client = connection()
    track = ToneTrack(FRAMES, SPEED)
    client.addTransceiver(track, direction="sendonly")
    answer = await peer.answer(await offer(client))
    host, port = first_address(answer)
    relay = LossyRelay((host, port))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(relay.close)
        stack.push_async_callback(peer.close)
        stack.push_async_callback(client.close)
        await accept(client, through(answer, host, await relay.start(host)))
        await until(lambda: track.sent >= 20 and peer.inbound is not None and peer.inbound.counts.received > 0)
        relay.loss, relay.doubled, relay.reordered = loss, doubled, reordered
        await until(lambda: track.sent >= FRAMES - 5)
        relay.loss = 0.0
        await until(lambda: track.sent == FRAMES)
    # What waited for a packet that was lost came when the connection closed.
    return peer, np.concatenate(heard)


def arrived(peer: Peer) -> float:
    """Frames that came out, concealed ones among them."""
    return peer.inbound.samples / 960 if peer.inbound is not None else 0.0


async def test_what_is_lost_is_concealed_and_time_stays_what_it_is() -> None:
    runs = await asyncio.gather(*(speak_through(loss) for loss in DELIVERED))

    for (peer, heard), (loss, least) in zip(runs, DELIVERED.items(), strict=True):
        assert peer.inbound is not None
        # What aiortc's encoder keeps for itself, and packets sent before the connection stood, are no loss.
        expected = peer.inbound.samples / 3
        error_s = abs(len(heard) - expected) / 16_000
        assert error_s <= 0.04
        whole_s = FRAMES * 0.02
        assert abs(len(heard) / 16_000 - whole_s) <= 0.2
        loud = np.abs(heard.reshape(-1)[: len(heard) // 320 * 320].reshape(-1, 320)).max(axis=1) > 0.05
        assert loud.mean() >= least, (loss, loud.mean())
        assert (peer.inbound.counts.lost > 0) == (peer.inbound.concealed_samples > 0)


async def test_packets_that_overtake_each_other_or_come_twice_do_no_harm() -> None:
    peer, heard = await speak_through(0.0, doubled=0.2, reordered=0.2)

    assert peer.inbound is not None
    # SRTP refuses doubles by itself. A machine that is busy for 80 ms may still lose one to the buffer's patience.
    assert peer.inbound.counts.received <= FRAMES
    assert peer.inbound.counts.lost <= FRAMES // 20
    assert abs(len(heard) / 16_000 - FRAMES * 0.02) <= 0.2
