"""Offers and answers, with aiortc as the client, over this machine's own network."""

import asyncio
import gc
from collections.abc import AsyncIterator

import numpy as np
import psutil
import pytest
from aiortc import MediaStreamTrack

from octavia_stream.errors import InvalidRequest, MediaRejected, MediaTooLarge, Overloaded
from octavia_stream.live.events import LiveRecord, SpeakerJoined
from octavia_stream.live.frame import Frame
from octavia_stream.webrtc.fan_out import FanOut
from octavia_stream.webrtc.ice_sockets import SocketRules, advertise
from octavia_stream.webrtc.offer import LARGEST_SDP, read_offer
from octavia_stream.webrtc.peer import PacketTrack, Peer
from tests.webrtc.clients import ToneTrack, accept, connection, offer, until


def nowhere(_: object) -> None:
    """A sink."""


async def frames(count: int = 1_000_000) -> AsyncIterator[Frame]:
    """A tone in real time."""
    for number in range(count):
        moments = (np.arange(960) + number * 960) / 48_000
        yield Frame((8000 * np.sin(2 * np.pi * 300 * moments)).astype(np.int16), number * 960)
        await asyncio.sleep(0.02)


async def test_a_language_is_encoded_once_for_all_its_listeners() -> None:
    tracks = [PacketTrack() for _ in range(3)]
    peers = [Peer("listen", SocketRules(), track=track) for track in tracks]
    clients = [connection() for _ in peers]
    fan = FanOut()
    for client, peer, track in zip(clients, peers, tracks, strict=True):
        client.addTransceiver("audio", direction="recvonly")
        await accept(client, await peer.answer(await offer(client)))
        fan.add(track)
    speaking = asyncio.create_task(fan.run(frames()))
    heard = await asyncio.gather(*(loudness(client.getReceivers()[0].track) for client in clients))

    assert all(level > 1000 for level in heard)
    assert fan.encoded < 200
    speaking.cancel()
    await asyncio.gather(*(peer.close() for peer in peers), *(client.close() for client in clients))


async def loudness(track: MediaStreamTrack) -> float:
    """Of the loudest of the first frames."""
    async with asyncio.timeout(30):
        heard = [await track.recv() for _ in range(20)]
    return float(max(np.abs(frame.to_ndarray()).max() for frame in heard))  # type: ignore[union-attr]


async def test_captions_go_out_on_the_data_channel_that_the_client_opens() -> None:
    async def follow(after: int) -> AsyncIterator[LiveRecord]:
        for number in (6, 7, 8):
            if number > after:
                yield LiveRecord(number, 0.0, SpeakerJoined("ana"))

    peer = Peer("listen", SocketRules(), follow=follow)
    client = connection()
    heard: list[str] = []
    client.createDataChannel("captions", protocol="after=6").on("message", heard.append)
    other = client.createDataChannel("other")
    await accept(client, await peer.answer(await offer(client)))
    await until(lambda: len(heard) == 2 and other.readyState == "closed")

    assert '"seq":7' in heard[0]
    assert '"seq":8' in heard[1]
    await peer.close()
    await client.close()


async def test_a_picture_is_neither_refused_nor_asked_for() -> None:
    peer = Peer("ingest", SocketRules(), sink=nowhere)
    client = connection()
    client.addTransceiver(ToneTrack(), direction="sendonly")
    client.addTransceiver("video", direction="sendonly")
    answer = await peer.answer(await offer(client))
    sections = answer.split("m=")

    assert "a=recvonly" in sections[1]
    assert "opus/48000/2" in sections[1]
    assert "PCMU" not in sections[1]
    assert sections[2].startswith("video")
    assert "a=inactive" in sections[2]
    assert not sections[2].startswith("video 0 ")
    await accept(client, answer)
    await until(lambda: peer.heard_at is not None)
    await peer.close()
    await client.close()


async def test_candidates_may_come_later_and_another_ice_session_may_not() -> None:
    peer = Peer("ingest", SocketRules(), sink=nowhere)
    client = connection()
    client.addTransceiver(ToneTrack(), direction="sendonly")
    sdp = await offer(client)
    candidates = [line for line in sdp.splitlines() if line.startswith("a=candidate")]
    bare = "\r\n".join(line for line in sdp.splitlines() if line not in candidates) + "\r\n"
    answer = await peer.answer(bare)

    await peer.trickle("\r\n".join([*candidates, "a=end-of-candidates", ""]))
    with pytest.raises(MediaRejected, match="restarted"):
        await peer.trickle("a=ice-ufrag:other\r\na=ice-pwd:something-long-enough-for-ice\r\n")
    with pytest.raises(InvalidRequest):
        await peer.trickle("no fragment")
    await accept(client, answer)
    await until(lambda: peer.state == "connected")
    await peer.close()
    await client.close()


async def test_sockets_are_bound_where_the_settings_say() -> None:
    peer = Peer("ingest", SocketRules("127.0.0.1", 42_000, 42_999), sink=nowhere)
    client = connection()
    client.addTransceiver("audio", direction="sendonly")
    answer = await peer.answer(await offer(client))
    candidates = [line.split() for line in answer.splitlines() if line.startswith("a=candidate")]

    assert candidates
    assert all(words[4] == "127.0.0.1" and 42_000 <= int(words[5]) <= 42_999 for words in candidates)
    public = advertise(answer, "203.0.113.7")
    assert "203.0.113.7" in public
    assert " 127.0.0.1 " not in public
    await peer.close()
    await client.close()


async def test_no_free_port_is_said_to_be_that() -> None:
    port = 43_111
    first = Peer("ingest", SocketRules("127.0.0.1", port, port), sink=nowhere)
    second = Peer("ingest", SocketRules("127.0.0.1", port, port), sink=nowhere)
    client = connection()
    client.addTransceiver("audio", direction="sendonly")
    sdp = await offer(client)
    await first.answer(sdp)

    with pytest.raises(Overloaded):
        await second.answer(sdp)
    await first.close()
    await client.close()


async def test_connections_that_come_and_go_leave_no_sockets_and_no_threads() -> None:
    process = psutil.Process()

    async def once() -> None:
        peer = Peer("ingest", SocketRules(), sink=nowhere)
        client = connection()
        client.addTransceiver("audio", direction="sendonly")
        await peer.answer(await offer(client))
        await client.close()
        await peer.close()

    await once()
    gc.collect()
    before, threads = process.num_fds(), process.num_threads()
    for _ in range(10):
        await once()
    gc.collect()

    await until(lambda: process.num_fds() <= before and process.num_threads() <= threads)


async def whip_offer(direction: str = "sendonly", **changes: str) -> str:
    client = connection()
    client.addTransceiver("audio", direction=direction)
    sdp = await offer(client)
    await client.close()
    for old, new in changes.items():
        sdp = sdp.replace(old, new)
    return sdp


async def test_an_offer_is_taken_for_what_it_asks() -> None:
    taken = read_offer(await whip_offer(), "ingest")

    assert (taken.audio, taken.video, taken.data) == (True, False, False)
    assert "end-of-candidates" not in taken.sdp
    with pytest.raises(MediaRejected, match="recvonly"):
        read_offer(await whip_offer(), "listen")
    with pytest.raises(MediaRejected, match="sendonly"):
        read_offer(await whip_offer("recvonly"), "ingest")
    with pytest.raises(MediaRejected, match="Opus"):
        read_offer(await whip_offer(opus="speex"), "ingest")
    with pytest.raises(InvalidRequest, match="fingerprint"):
        read_offer((await whip_offer()).replace("a=fingerprint", "a=finger"), "ingest")


@pytest.mark.parametrize(
    "text", ["", "v=0\r\n", "hello", "v=0\r\nm=audio\r\n", "v=x\r\n", "v=0\r\nm=audio 9 A 1\r\na=ssrc:1\r\n"]
)
def test_what_is_no_offer_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises((InvalidRequest, MediaRejected)):
        read_offer(text, "ingest")


async def test_offers_are_bounded() -> None:
    sdp = await whip_offer()
    section = sdp[sdp.index("m=audio") :]

    with pytest.raises(MediaTooLarge):
        read_offer("v=0\r\n" * LARGEST_SDP, "ingest")
    with pytest.raises(MediaRejected, match="at most one audio"):
        read_offer(sdp + section, "ingest")
    local = "a=candidate:1 1 udp 1 abc.local 5000 typ host\r\n"
    many = "".join(f"a=candidate:{n} 1 udp 1 192.0.2.{n % 250} 5000 typ host\r\n" for n in range(200))
    assert read_offer(sdp + local + many, "ingest").sdp.count("a=candidate") <= 50
    assert ".local" not in read_offer(sdp + local, "ingest").sdp
