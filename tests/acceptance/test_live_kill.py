"""kill -9 of the live node in the middle of a session: the node is forgotten, and the session goes on where it was."""

import asyncio
import signal
from typing import Any

import httpx
import pytest
from aiortc import RTCPeerConnection

from tests.acceptance.conftest import Running
from tests.webrtc.clients import ToneTrack, accept, connection, offer

pytestmark = [pytest.mark.acceptance, pytest.mark.ray, pytest.mark.services, pytest.mark.timeout(300)]

POLL_S = 0.2


async def speak(http: httpx.AsyncClient, session: dict[str, Any]) -> RTCPeerConnection:
    """Connect a speaker, as soon as there is a node that takes one."""
    while True:
        client = connection()
        client.addTransceiver(ToneTrack(), direction="sendonly")
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {session['token']}"}
        answer = await http.post(session["whip_url"], content=await offer(client), headers=headers)
        if answer.status_code == 201:
            await accept(client, answer.text)
            return client
        assert answer.status_code in (409, 503), answer.text
        await client.close()
        await asyncio.sleep(POLL_S * 5)


async def test_a_session_outlives_its_node(real_stack: Running) -> None:
    live, nodes = real_stack.runtime.live, real_stack.runtime.live_nodes
    async with httpx.AsyncClient(timeout=30) as http, asyncio.timeout(200):
        while not await nodes.nodes():  # noqa: ASYNC110  (the other side is another process)
            await asyncio.sleep(POLL_S)
        session = await real_stack.client.open_live({"targets": [{"language": "pt"}], "source": "en"})
        first = await speak(http, session)
        while (row := await live.get(session["id"])).heard_s < 1:  # noqa: ASYNC110  (the other side is another process)
            await asyncio.sleep(POLL_S)
        [card] = await nodes.nodes()
        assert row.node_id == card.node_id

        real_stack.replica("LiveNode").send_signal(signal.SIGKILL)
        # Its card expires after six seconds.
        while await nodes.node(card.node_id) is not None:  # noqa: ASYNC110  (the other side is another process)
            await asyncio.sleep(POLL_S)
        second = await speak(http, session)
        while (again := await live.get(session["id"])).heard_s <= row.heard_s + 1:  # noqa: ASYNC110  (the other side is another process)
            await asyncio.sleep(POLL_S)

        assert again.status == "live"
        assert again.epoch == row.epoch + 1
        assert again.node_id != row.node_id
        await real_stack.client.close_live(session["id"])
        await asyncio.gather(first.close(), second.close())
