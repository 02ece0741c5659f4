"""Live sessions through their doors: WHIP and WHEP as their documents say, sockets, links, and nodes that come and go.

The node is real, its engines play from a script.
"""

import asyncio
import base64
import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import msgspec
import numpy as np
import pytest
from aiortc import RTCPeerConnection
from litestar import Litestar
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from api.app import create_app
from octavia_stream.accounts.standing import Grant
from octavia_stream.asr.transcript import Word
from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.config import Settings
from octavia_stream.dubbing.engines import local
from octavia_stream.languages import Language
from octavia_stream.live.events import LiveRecord
from octavia_stream.live.options import LiveOptions
from octavia_stream.live.room import LiveRoom
from octavia_stream.live.state import RoomState
from octavia_stream.live.voices import CatalogueVoices
from octavia_stream.models.registry import Registry
from octavia_stream.runtime import Runtime, load_secret
from octavia_stream.sessions.endpoint import NodeEndpoint
from octavia_stream.sessions.registry import NodeCard
from octavia_stream.sessions.supervisor import NewSession, Supervisor
from octavia_stream.testing import FollowingTranscriber, LevelDetector, ScriptedSynthesizer, ScriptedTranslator
from tests.api.conftest import Person, person, serving
from tests.api.test_isolation import LIVE

pytestmark = pytest.mark.services

T = TypeVar("T")
TEXT = "Good evening everybody. Welcome to the show."
ORDER = {"source": "en", "targets": [{"language": "pt"}]}
SDP = {"Content-Type": "application/sdp"}
SECOND = 48_000
"""Bytes of sound at 24 kHz."""
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """With a node that lets everybody in, a TURN server, and more sessions for each than there are tests."""
    live = settings.live.model_copy(
        update={"max_cpu": 0.0, "turn_urls": ("turn:turn.example.org:3478",), "turn_secret": SecretStr("shared")}
    )
    return settings.model_copy(update={"live": live})


@asynccontextmanager
async def hosting(runtime: Runtime, settings: Settings, made_rooms: Any = None) -> AsyncIterator[Supervisor]:
    """A live node in this process. made_rooms: makes its rooms; else those in which the words of `TEXT` are said."""
    supervisor = Supervisor(settings.live, made_rooms or rooms(settings), runtime.live, runtime.live_nodes)
    async with NodeEndpoint(supervisor, load_secret(settings), "127.0.0.1") as endpoint:
        node = endpoint.node(f"test/{uuid4().hex}")
        running = asyncio.create_task(supervisor.run(node))
        await until(lambda: runtime.live_nodes.node(node.id))
        try:
            yield supervisor
        finally:
            await supervisor.drain()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def rooms(settings: Settings) -> Any:
    voices = CatalogueVoices(Registry(settings.models, settings.home))
    engines = local(FollowingTranscriber(spoken(), Language("en")), ScriptedTranslator(), ScriptedSynthesizer())

    def room(_: object, options: LiveOptions, state: RoomState | None) -> LiveRoom:
        return LiveRoom(options, engines, LevelDetector, voices, state)

    return room


def spoken() -> list[Word]:
    step = round(0.3 * ASR_RATE_HZ)
    return [Word(text, 4800 + n * step, 4800 + (n + 1) * step, 0.9) for n, text in enumerate(TEXT.split())]


def pcm() -> bytes:
    """The words, loud, and two seconds of silence: 16 bits at 24 kHz."""
    samples = np.zeros(24_000 * 5, np.int16)
    samples[7_200 : 7_200 + len(spoken()) * 7_200 : 2] = 5_000
    return samples.tobytes()


@pytest.fixture(scope="module")
async def node(runtime: Runtime, settings: Settings) -> AsyncIterator[Supervisor]:
    async with hosting(runtime, settings) as supervisor:
        yield supervisor


@pytest.fixture
async def anna(address: str, node: Supervisor) -> AsyncIterator[Person]:
    """Somebody new, who has no session yet."""
    async with person(address) as somebody:
        yield somebody


async def begin(somebody: Person, **more: Any) -> dict[str, Any]:
    answer = await somebody.http.post("/api/v1/live/sessions", json={**ORDER, **more})
    assert answer.status_code == 201, answer.text
    session: dict[str, Any] = answer.json()
    return session


@asynccontextmanager
async def offering(direction: str) -> AsyncIterator[tuple[RTCPeerConnection, str]]:
    """A peer, and its offer."""
    peer = RTCPeerConnection()
    try:
        peer.addTransceiver("audio", direction=direction)
        await peer.setLocalDescription(await peer.createOffer())
        yield peer, peer.localDescription.sdp
    finally:
        await peer.close()


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    """Look until there is something."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(0.05)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def shows(somebody: Person, session: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Wait until the session looks like that."""

    async def look() -> dict[str, Any] | None:
        found: dict[str, Any] = (await somebody.http.get(f"/api/v1/live/sessions/{session['id']}")).json()
        return found if all(found[name] == value for name, value in fields.items()) else None

    return await until(look)


async def test_a_new_session_says_where_everything_is(anna: Person, address: str) -> None:
    session = await begin(anna)
    base = f"{address}/api/v1/live/{session['id']}"
    assert session["whip_url"] == f"{base}/whip"
    assert session["whep_urls"] == {"pt": f"{base}/whep/pt"}
    assert session["events_url"] == f"{base}/events".replace("http", "ws", 1)
    assert session["ice_servers"][0]["urls"] == ["turn:turn.example.org:3478"]
    assert session["status"] == "created"
    listed = (await anna.http.get("/api/v1/live/sessions")).json()["sessions"]
    assert [one["id"] for one in listed] == [session["id"]]
    assert (await anna.http.get("/api/v1/live/ice-servers")).json()["ice_servers"][0]["credential"]
    ended = (await anna.http.delete(f"/api/v1/live/sessions/{session['id']}")).json()
    assert (ended["status"], ended["end_reason"]) == ("ended", "closed")
    assert (await anna.http.delete(f"/api/v1/live/sessions/{session['id']}")).json() == ended


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"targets": []}, 400),
        ({"targets": [{"language": "pt"}, {"language": "pt-BR"}]}, 400),
        ({"targets": [{"language": "tlh"}]}, 422),
        ({"targets": [{"language": "pt", "voice": "nobody"}]}, 422),
        ({"targets": [{"language": "pt"}], "latency": "none"}, 400),
    ],
)
async def test_what_cannot_be_done_is_refused_with_a_sentence(anna: Person, order: Any, status: int) -> None:
    answer = await anna.http.post("/api/v1/live/sessions", json=order)
    assert answer.status_code == status, answer.text
    assert (await anna.http.get("/api/v1/live/sessions")).json()["sessions"] == []


async def test_whip_is_as_rfc_9725_says(anna: Person, anyone: httpx.AsyncClient, address: str) -> None:
    session = await begin(anna)
    whip, mine = session["whip_url"], bearer(session["token"])
    described = await anyone.options(whip)
    assert described.headers["Accept-Post"] == "application/sdp"
    assert "Link" not in described.headers
    link = (await anyone.options(whip, headers=mine)).headers["Link"]
    assert link.startswith('<turn:turn.example.org:3478>; rel="ice-server"; username="')
    assert 'credential-type="password"' in link
    assert (await anyone.post(whip, content="v=0", headers=SDP)).status_code == 401
    assert (await anyone.post(whip, content="v=0", headers={**mine, "Content-Type": "text/plain"})).status_code == 415
    assert (await anyone.post(whip, content="no offer", headers={**mine, **SDP})).status_code == 400
    assert (await anyone.post(whip, content="v" * 65_537, headers={**mine, **SDP})).status_code == 413
    async with offering("sendonly") as (_, offer):
        answer = await anyone.post(f"{whip}?token={session['token']}", content=offer, headers=SDP)
        assert answer.status_code == 201, answer.text
        assert answer.headers["Content-Type"].startswith("application/sdp")
        assert "a=recvonly" in answer.text
        peer, etag = answer.headers["Location"], answer.headers["ETag"]
        assert peer.startswith(f"{address}/api/v1/live/{session['id']}/peers/")
        await check_trickle(anyone, peer, etag, mine)
        assert (await anyone.delete(f"{peer}x", headers=mine)).status_code == 404
        assert (await anyone.delete(peer)).status_code == 401
        assert (await anyone.delete(peer, headers={**mine, "If-Match": '"another"'})).status_code == 200
        assert (await anyone.delete(peer, headers=mine)).status_code == 404


async def check_trickle(anyone: httpx.AsyncClient, peer: str, etag: str, mine: dict[str, str]) -> None:
    fragment = {**mine, "Content-Type": "application/trickle-ice-sdpfrag"}
    candidates = "a=ice-ufrag:abcd\r\na=mid:0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n"
    for headers, status in (
        (fragment, 428),
        ({**fragment, "If-Match": '"another"'}, 412),
        ({**fragment, "If-Match": "*"}, 422),
        ({**mine, **SDP, "If-Match": etag}, 415),
    ):
        answer = await anyone.patch(peer, content=candidates, headers=headers)
        assert answer.status_code == status, answer.text
    assert (await anyone.patch(f"{peer}x", content=candidates, headers=fragment)).status_code == 404


async def test_listeners_only_listen_and_not_before_somebody_speaks(anna: Person, anyone: httpx.AsyncClient) -> None:
    session = await begin(anna)
    whep, theirs = session["whep_urls"]["pt"], bearer(session["listen_token"])
    async with offering("sendonly") as (_, spoken_offer), offering("recvonly") as (_, offer):
        early = await anyone.post(whep, content=offer, headers={**theirs, **SDP})
        assert (early.status_code, early.headers["Retry-After"]) == (409, "2")
        assert (await anyone.head(whep, headers=theirs)).status_code == 409
        refused = await anyone.post(session["whip_url"], content=spoken_offer, headers={**theirs, **SDP})
        assert refused.status_code == 403
        mine = {**bearer(session["token"]), **SDP}
        assert (await anyone.post(session["whip_url"], content=spoken_offer, headers=mine)).status_code == 201
        there = await anyone.head(whep, headers=theirs)
        assert (there.status_code, there.headers["Content-Type"]) == (200, "application/sdp")
        answer = await anyone.post(whep, content=offer, headers={**theirs, **SDP})
        assert answer.status_code == 201, answer.text
        assert "a=sendonly" in answer.text
        none = await anyone.post(whep.replace("/pt", "/es"), content=offer, headers={**theirs, **SDP})
        assert none.status_code == 404


async def test_a_link_that_is_taken_back_opens_nothing_and_ends_what_it_opened(
    anna: Person, anyone: httpx.AsyncClient, node: Supervisor, runtime: Runtime
) -> None:
    session = await begin(anna)
    path = f"/api/v1/live/sessions/{session['id']}/listeners"
    made = (await anna.http.post(path, json={"name": "The balcony"})).json()
    theirs = bearer(made["token"])
    await runtime.live.somebody_speaks(session["id"])
    async with offering("recvonly") as (_, offer):
        answer = await anyone.post(made["whep_urls"]["pt"], content=offer, headers={**theirs, **SDP})
        assert answer.status_code == 201, answer.text
        hosted = next(one for its_id, one in node.sessions.items() if str(its_id) == session["id"])
        assert len(hosted.peers()) == 1
        async with connect(f"{made['events_url']}?token={made['token']}") as events:
            assert (await anna.http.delete(f"{path}/{made['listener']['id']}")).status_code == 204
            assert not hosted.peers()
            assert await closed_with(events) == 4401
        assert (await anyone.post(made["whep_urls"]["pt"], content=offer, headers={**theirs, **SDP})).status_code == 401
    names = [link["name"] for link in (await anna.http.get(path)).json()["listeners"]]
    assert names == ["Listeners"]


async def closed_with(socket: ClientConnection) -> int | None:
    with suppress(ConnectionClosed):
        async with asyncio.timeout(DEADLINE_S):
            async for _ in socket:
                pass
    return socket.close_code


async def test_a_socket_speaks_and_hears_in_the_words_of_openai(anna: Person) -> None:
    session = await begin(anna)
    sound = pcm()
    told: list[dict[str, Any]] = []
    async with connect(f"{session['socket_url']}?token={session['token']}", max_size=None) as socket:
        await socket.send('{"type": "session.update", "session": {}}')
        for start in range(0, len(sound), SECOND):
            audio = base64.b64encode(sound[start : start + SECOND]).decode()
            await socket.send(
                msgspec.json.encode({"type": "session.input_audio_buffer.append", "audio": audio}).decode()
            )
        await socket.send('{"type": "what is this"}')
        async with asyncio.timeout(DEADLINE_S):
            while not heard(told):
                told.append(msgspec.json.decode(await socket.recv()))
            await socket.send('{"type": "session.close"}')
            async for message in socket:
                told.append(msgspec.json.decode(message))
    assert [told[0]["type"], told[0]["session"]["id"]] == ["session.created", session["id"]]
    assert told[-1]["type"] == "session.closed"
    assert {"session.updated", "error"} <= {one["type"] for one in told}
    heard_text = "".join(one["delta"] for one in told if one["type"] == "session.input_transcript.delta")
    assert "evening" in heard_text
    first = next(one for one in told if one["type"] == "session.output_audio.delta")
    assert (first["sample_rate"], first["channels"], first["format"]) == (24_000, 1, "pcm16")
    ended = await shows(anna, session, status="ended", end_reason="closed")
    assert 4.5 < ended["heard_s"] < 5.5


def heard(told: list[dict[str, Any]]) -> bool:
    """Whether a translation was told, and sounded."""
    translated = any(one["type"] == "session.output_transcript.delta" for one in told)
    sounds = (base64.b64decode(one["delta"]) for one in told if one["type"] == "session.output_audio.delta")
    return translated and any(np.abs(np.frombuffer(sound, "<i2")).max(initial=0) > 500 for sound in sounds)


async def test_captions_go_on_after_the_last_one_seen_from_any_process(
    anna: Person, settings: Settings, node: Supervisor
) -> None:
    session = await begin(anna)
    mine = f"token={session['token']}"
    async with (
        serving(create_app(settings), settings) as elsewhere,
        connect(f"{session['socket_url']}?{mine}&out=0", max_size=None) as socket,
    ):
        await say(socket, pcm())
        whole = await records(f"{session['events_url']}?{mine}")
        events = f"{elsewhere.replace('http', 'ws', 1)}/api/v1/live/{session['id']}/events"
        rest = await records(f"{events}?{mine}&after={whole[1].seq}")
    assert [record.seq for record in whole] == list(range(1, len(whole) + 1))
    assert rest[0] == whole[2]


async def say(socket: ClientConnection, sound: bytes) -> None:
    """As binary messages of a second each."""
    for start in range(0, len(sound), SECOND):
        await socket.send(sound[start : start + SECOND])


async def records(url: str) -> list[LiveRecord]:
    """Those up to the first phrase that sounds."""
    found: list[LiveRecord] = []
    async with asyncio.timeout(DEADLINE_S), connect(url) as socket:
        async for text in socket:
            found.append(msgspec.json.decode(text, type=LiveRecord))
            if type(found[-1].event).__name__ == "PhraseSpoken":
                break
    return found


async def test_a_third_session_is_refused_for_now(anna: Person) -> None:
    first, _ = [await begin(anna) for _ in range(2)]
    refused = await anna.http.post("/api/v1/live/sessions", json=ORDER)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_sessions")
    assert refused.json()["quota"] == {"name": "live_sessions", "limit": 2, "used": 2, "asked": 1}
    assert "Retry-After" in refused.headers
    await anna.http.delete(f"/api/v1/live/sessions/{first['id']}")
    await begin(anna)


async def test_a_session_whose_node_was_lost_goes_on_at_another_one(
    anna: Person, anyone: httpx.AsyncClient, runtime: Runtime, node: Supervisor
) -> None:
    """The registry still shows a node that was killed, and the lease has not run out."""
    dead = NodeCard("dead", f"http://127.0.0.1:{closed_port()}", 0, -1.0, draining=False, started_at=datetime.now(UTC))
    session, token = await runtime.live.create(anna.id, LIVE, Grant(anna.id))
    epoch = await runtime.live.take(session.id, dead.node_id)
    await runtime.live.beat(session.id, epoch, RoomState(seq=41, segment=7), 12.0)
    await runtime.live_nodes.show(dead)
    async with offering("sendonly") as (_, offer):
        url = f"/api/v1/live/{session.id}/whip"
        answer = await anyone.post(url, content=offer, headers={**bearer(token), **SDP})
    assert answer.status_code == 201, answer.text
    assert session.id in node.sessions
    # It goes on counting where it was.
    assert node.sessions[session.id].room.state().seq > 41
    assert node.sessions[session.id].room.state().segment == 7
    # And a new one does not go to the dead.
    await begin(anna)
    await runtime.live_nodes.withdraw(dead.node_id)


def closed_port() -> int:
    with sockets.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def test_a_client_that_is_killed_leaves_a_session_that_waits_and_ends(
    anna: Person, runtime: Runtime, settings: Settings
) -> None:
    impatient = settings.model_copy(update={"live": settings.live.model_copy(update={"resume_s": 1.0})})
    async with hosting(runtime, impatient) as hasty:
        live, token = await runtime.live.create(anna.id, LIVE, Grant(anna.id))
        await hasty.open(NewSession(live.id, anna.id, LIVE))
        url = str(anna.http.base_url).replace("http", "ws", 1)
        socket = await connect(f"{url}/api/v1/live/{live.id}/socket?token={token}")
        await say(socket, pcm())
        hosted = hasty.sessions[live.id]

        async def was_heard() -> bool:
            return hosted.room.load().heard_s > 1

        await until(was_heard)
        socket.transport.abort()
        ended = await shows(anna, {"id": live.id}, status="ended", end_reason="lost")
        assert ended["heard_s"] <= len(pcm()) / SECOND
        assert not hosted.peers()


async def test_a_team_s_session_is_everybody_s_in_it(anna: Person, bob: Person) -> None:
    team = (await anna.http.post("/api/v1/teams", json={"name": "A stage"})).json()
    session = await begin(anna, team_id=team["id"])
    assert (await anna.http.get("/api/v1/live/sessions")).json()["sessions"] == []
    listed = (await anna.http.get("/api/v1/live/sessions", params={"team_id": team["id"]})).json()["sessions"]
    assert [one["id"] for one in listed] == [session["id"]]
    assert (await bob.http.get(f"/api/v1/live/sessions/{session['id']}")).status_code == 404
    assert (await anna.http.delete(f"/api/v1/live/sessions/{session['id']}")).status_code == 200


async def test_an_account_that_goes_takes_its_session_along(anna: Person, node: Supervisor) -> None:
    session = await begin(anna)
    assert (await anna.http.request("DELETE", "/api/v1/auth/me", json={"password": "correct horse battery"})).is_success

    async def gone() -> bool:
        return all(str(its_id) != session["id"] for its_id in node.sessions)

    await until(gone)


async def test_a_key_that_is_withdrawn_ends_what_it_began(anna: Person, anyone: httpx.AsyncClient) -> None:
    made = (await anna.http.post("/api/v1/keys", json={"name": "A stage", "scopes": ["live:write"]})).json()
    answer = await anyone.post("/api/v1/live/sessions", json=ORDER, headers=bearer(made["api_key"]))
    assert answer.status_code == 201, answer.text
    assert (await anna.http.delete(f"/api/v1/keys/{made['key']['id']}")).is_success
    await shows(anna, answer.json(), status="ended", end_reason="withdrawn")


async def test_administrators_see_and_end_anybody_s_session_and_that_is_written_down(
    anna: Person, bob: Person, runtime: Runtime
) -> None:
    session = await begin(bob)
    await runtime.pool.execute("update account set role = 'admin' where id = $1", anna.id)
    found = (await anna.http.get("/api/v1/admin/live", params={"owner": str(bob.id)})).json()["sessions"]
    assert [(one["id"], one["status"], one["languages"]) for one in found] == [(session["id"], "created", 1)]
    path = f"/api/v1/admin/live/{session['id']}/end"
    ended = await anna.http.post(path, json={"reason": "It disturbs the others."})
    assert (ended.status_code, ended.json()["end_reason"]) == (200, "administrator")
    assert (await anna.http.post(path, json={"reason": "Again."})).status_code == 409
    acts = (await anna.http.get("/api/v1/admin/acts", params={"subject": session["id"]})).json()["acts"]
    assert [(one["act"], one["reason"]) for one in acts] == [("end_session", "It disturbs the others.")]
    await shows(bob, session, status="ended", end_reason="administrator")


async def test_without_a_node_that_takes_any_it_is_said_when_to_come_again(
    anna: Person, monkeypatch: pytest.MonkeyPatch, app: Litestar
) -> None:
    registry = app.state.services.runtime.live_nodes
    shown = [msgspec.structs.replace(card, draining=True) for card in await registry.nodes()]

    async def nodes() -> list[NodeCard]:
        return shown

    monkeypatch.setattr(registry, "nodes", nodes)
    answer = await anna.http.post("/api/v1/live/sessions", json=ORDER)
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert "Retry-After" in answer.headers
    assert (await anna.http.get("/api/v1/live/sessions")).json()["sessions"] == []
