"""One node's sessions, over its private endpoint and real connections. Engines cost nothing."""

import asyncio
from pathlib import Path
from uuid import uuid4

import aiohttp
import numpy as np
import pytest
from aiohttp import WSMsgType

from octavia_stream.config import LiveSettings
from octavia_stream.live.state import RoomState, SpeakerState
from octavia_stream.sessions import line as line_module
from octavia_stream.sessions.admission import Admission
from octavia_stream.sessions.recorder import recording_prefix
from octavia_stream.storage.objects import ObjectStore
from tests.sessions.node import PORTUGUESE, SDP, hears, live_node
from tests.webrtc.clients import ToneTrack, accept, connection, offer, until


async def test_what_is_spoken_is_heard_and_a_goodbye_lets_the_session_wait() -> None:
    async with live_node() as node:
        session_id = await node.open()
        speaker, peer_id = await node.speak(session_id)
        listener, _ = await node.listen(session_id)

        await hears(listener.getReceivers()[0].track)
        session = node.supervisor.session(session_id)
        await until(lambda: session.speaking)
        async with node.http.delete(f"/sessions/{session_id}/peers/{peer_id}") as answer:
            assert answer.status == 200
        await until(lambda: not session.speaking)
        again, _ = await node.speak(session_id)
        await until(lambda: session.speaking)
        async with node.http.delete(f"/sessions/{session_id}?reason=closed") as answer:
            assert answer.status == 204
        reason, heard_s = node.leases.ended[session_id]
        assert (reason, heard_s > 0) == ("closed", True)
        assert not node.supervisor.sessions
        await asyncio.gather(speaker.close(), listener.close(), again.close())


async def test_a_peer_that_falls_silent_is_lost_and_the_session_ends_when_nobody_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line_module, "LOST_AFTER_S", 0.5)
    async with live_node(resume_s=0.5) as node:
        session_id = await node.open()
        client = connection()
        client.addTransceiver(ToneTrack(frames=40), direction="sendonly")
        await node.offer(client, f"/sessions/{session_id}/ingest?speaker=ana")

        await until(lambda: session_id in node.leases.ended)
        assert node.leases.ended[session_id][0] == "lost"
        await client.close()


async def test_a_connection_without_sound_gives_its_sockets_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "FIRST_SOUND_S", 0.5)
    async with live_node() as node:
        session_id = await node.open()
        client = connection()
        client.addTransceiver("audio", direction="sendonly")
        async with node.http.post(f"/sessions/{session_id}/ingest", data=await offer(client), headers=SDP) as answer:
            assert answer.status == 201
        session = node.supervisor.session(session_id)

        await until(lambda: not session.peers())
        await client.close()


async def test_a_speaker_who_connects_again_takes_the_place_of_the_old_connection() -> None:
    async with live_node(speakers_per_session=1) as node:
        session_id = await node.open()
        first, first_id = await node.speak(session_id)
        second, second_id = await node.speak(session_id)

        assert [peer.id for peer in node.supervisor.session(session_id).peers()] == [second_id]
        assert first_id != second_id
        other = connection()
        other.addTransceiver("audio", direction="sendonly")
        path = f"/sessions/{session_id}/ingest?speaker=rui"
        async with node.http.post(path, data=await offer(other), headers=SDP) as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"]
        await asyncio.gather(first.close(), second.close(), other.close())


async def test_trickle_follows_rfc_9725() -> None:
    async with live_node() as node:
        session_id = await node.open()
        client = connection()
        client.addTransceiver("audio", direction="sendonly")
        path = f"/sessions/{session_id}/ingest"
        async with node.http.post(path, data=await offer(client), headers=SDP) as answer:
            etag, peer_id = answer.headers["ETag"], answer.headers["X-Peer-Id"]
            await accept(client, await answer.text())
        candidate = "a=candidate:1 1 udp 1 192.0.2.99 5000 typ host\r\n"

        async def patch(text: str, **headers: str) -> int:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            sent = {"Content-Type": "application/trickle-ice-sdpfrag"} | named
            async with node.http.patch(f"/sessions/{session_id}/peers/{peer_id}", data=text, headers=sent) as answer:
                return answer.status

        assert await patch(candidate, If_Match=etag) == 204
        assert await patch(candidate) == 428
        assert await patch(candidate, If_Match='"other"') == 412
        assert await patch("a=ice-ufrag:newer\r\na=ice-pwd:0123456789012345678901\r\n", If_Match="*") == 422
        assert await patch(candidate, If_Match=etag, Content_Type="text/plain") == 415
        assert await patch("?", If_Match=etag) == 400
        await client.close()


async def test_doors_refuse_in_problems() -> None:
    async with live_node() as node:
        session_id = await node.open()

        async def post(path: str, **options: object) -> tuple[int, str]:
            async with node.http.post(path, **options) as answer:  # type: ignore[arg-type]
                return answer.status, (await answer.json(content_type="application/problem+json"))["code"]

        assert await post(f"/sessions/{uuid4()}/ingest", data="v=0", headers=SDP) == (404, "not_found")
        assert await post(f"/sessions/{session_id}/ingest", data="v=0", headers=SDP) == (400, "invalid_request")
        assert await post(f"/sessions/{session_id}/ingest", data="v=0") == (415, "invalid_request")
        assert await post(f"/sessions/{session_id}/listen/fr", data="v=0", headers=SDP) == (404, "not_found")
        assert await post(f"/sessions/{session_id}/ingest?speaker=a/b", data="v=0", headers=SDP) == (
            400,
            "invalid_request",
        )
        assert await post("/sessions", data="{}") == (400, "invalid_request")
        assert await post("/load", headers={"Authorization": "Bearer guessed"}) == (401, "unauthorized")


async def test_a_full_node_says_so_at_once_and_keeps_what_it_has() -> None:
    async with live_node(sessions_per_node=1) as node:
        session_id = await node.open()
        body = f'{{"session_id":"{uuid4()}","owner_id":"{uuid4()}","options":{{"targets":[{{"language":"pt"}}]}}}}'

        async with node.http.post("/sessions", data=body) as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"]
        assert list(node.supervisor.sessions) == [session_id]
        async with node.http.get("/load") as answer:
            assert (await answer.json())["capacity"] == 0


async def test_whoever_loses_the_lease_ends_the_room_and_settles_nothing() -> None:
    async with live_node() as node:
        session_id = await node.open()
        node.leases.epochs[session_id] += 1

        await until(lambda: not node.supervisor.sessions)
        assert session_id not in node.leases.ended


async def test_a_session_that_is_asked_to_end_ends_at_its_next_sign_of_life() -> None:
    async with live_node() as node:
        session_id = await node.open()
        node.leases.asked[session_id] = "credits_used_up"

        await until(lambda: session_id in node.leases.ended)
        assert node.leases.ended[session_id][0] == "credits_used_up"


async def test_a_draining_node_takes_nothing_and_leaves_sessions_to_others_with_their_state() -> None:
    async with live_node() as node:
        session_id = await node.open(state=RoomState(seq=41, speakers={"ana": SpeakerState(position=16_000)}))

        await node.supervisor.drain()
        assert session_id not in node.leases.ended
        assert node.leases.states[session_id].seq >= 41
        async with node.http.get("/load") as answer:
            assert (await answer.json())["draining"] is True
        body = f'{{"session_id":"{uuid4()}","owner_id":"{uuid4()}","options":{{"targets":[{{"language":"pt"}}]}}}}'
        async with node.http.post("/sessions", data=body) as answer:
            assert answer.status == 503


async def test_a_socket_takes_and_gives_sound_and_tells_what_happens() -> None:
    async with live_node() as node:
        session_id = await node.open()
        tone = (8000 * np.sin(2 * np.pi * 200 * np.arange(24_000) / 24_000)).astype("<i2").tobytes()
        path = f"/sessions/{session_id}/socket?speaker=ana&language=pt&after=0"
        async with node.http.ws_connect(path) as ws, asyncio.timeout(30):

            async def speak() -> None:
                while True:
                    # Messages that end in the middle of a sample.
                    for begin in range(0, len(tone), 999):
                        await ws.send_bytes(tone[begin : begin + 999])
                        await asyncio.sleep(0.02)

            speaking = asyncio.create_task(speak())
            texts: list[str] = []
            loud = False
            while not (texts and loud):
                message = await ws.receive()
                assert message.type in (WSMsgType.TEXT, WSMsgType.BINARY)
                if message.type == WSMsgType.TEXT:
                    texts.append(message.data)
                else:
                    loud = loud or np.abs(np.frombuffer(message.data, "<i2")).max() > 500
            assert '"speaker_joined"' in texts[0]
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
            await ws.send_str('{"type":"end"}')
            await until(lambda: not node.supervisor.session(session_id).speaking)


async def test_who_does_not_upgrade_leaves_no_speaker_behind() -> None:
    async with live_node(speakers_per_session=1) as node:
        session_id = await node.open()
        async with node.http.get(f"/sessions/{session_id}/socket?speaker=ana&language=pt") as answer:
            assert answer.status == 400
        async with node.http.ws_connect(f"/sessions/{session_id}/socket?speaker=ben"):
            pass


async def test_events_are_followed_after_a_number() -> None:
    async with live_node() as node:
        session_id = await node.open(state=RoomState(seq=7))
        async with node.http.ws_connect(f"/sessions/{session_id}/events?after=0") as ws, asyncio.timeout(30):
            async with node.http.delete(f"/sessions/{session_id}?reason=closed") as answer:
                assert answer.status == 204
            last = await ws.receive_json()

        assert (last["seq"], last["event"]["type"], last["event"]["reason"]) == (8, "session_ended", "closed")


async def test_what_is_spoken_is_recorded_in_parts_at_their_positions(tmp_path: Path) -> None:
    objects = ObjectStore.from_url(tmp_path.as_uri())
    async with live_node(objects) as node:
        session_id = await node.open(PORTUGUESE | {"record": True})
        async with node.http.ws_connect(f"/sessions/{session_id}/socket?speaker=ana") as ws:
            for _ in range(12):
                await ws.send_bytes(b"\1\0" * 24_000)
            session = node.supervisor.session(session_id)
            await until(lambda: session.room.load().heard_s > 11.9)
        async with node.http.delete(f"/sessions/{session_id}") as answer:
            assert answer.status == 204

    parts = sorted([found.key async for found in objects.list(recording_prefix(session_id))])
    starts = [int(Path(key).stem) for key in parts]
    lengths = [len(await objects.get(key)) // 2 for key in parts]
    assert len(parts) == 2
    assert starts[1] == starts[0] + lengths[0]
    assert abs(sum(lengths) - 12 * 16_000) <= 400


async def test_a_session_is_not_slowed_down_by_a_listener_that_reads_nothing() -> None:
    async with live_node() as node:
        session_id = await node.open()
        path = f"/sessions/{session_id}/socket?in=0&language=pt"
        async with node.http.ws_connect(path) as slow:
            speaker, _ = await node.speak(session_id)
            listener, _ = await node.listen(session_id)
            await hears(listener.getReceivers()[0].track)
            assert not slow.closed
        await asyncio.gather(speaker.close(), listener.close())


def settings(**changes: object) -> LiveSettings:
    return LiveSettings.model_validate(changes)


def test_sessions_are_let_in_until_the_cpus_are_busy() -> None:
    cpu = 0.1
    admission = Admission(settings(max_cpu=0.8), lambda: cpu, cores=2)
    for second in range(30):
        admission.sample(second, 0)
    sessions = 0
    for second in range(30, 3000):
        cpu = min(0.1 + 0.2 * sessions, 1.0)
        admission.sample(second, sessions)
        if second % 15 == 0 and admission.room_for(sessions, 0.0):
            admission.admit(second, sessions, 0.0)
            sessions += 1

    # One costs 0.2 of the machine, as it turns out: the fourth would be above the bound.
    assert sessions == 3
    assert admission.load(sessions, 0.0) == 1.0


def test_several_at_once_are_counted_before_they_are_measured() -> None:
    admission = Admission(settings(max_cpu=0.5), lambda: 0.0, cores=1)
    admission.sample(0.0, 0)

    assert admission.room_for(0, 0.0) == 5
    admission.admit(0.0, 0, 0.0)
    assert admission.room_for(1, 0.0) == 4


def test_a_loop_that_is_late_takes_nobody() -> None:
    admission = Admission(settings(), lambda: 0.0, cores=2)
    admission.sample(0.0, 1)

    assert admission.room_for(1, 0.2) == 0
    with pytest.raises(Exception, match="capacity"):
        admission.admit(0.0, 1, 0.2)


async def test_nobody_is_let_in_without_the_secret() -> None:
    async with live_node() as node, aiohttp.ClientSession() as stranger:
        url = node.registry.cards["one"].url
        async with stranger.get(f"{url}/load") as answer:
            assert answer.status == 401
