"""TURN: credentials that expire, and coturn that takes them."""

import asyncio
import base64
import hashlib
import hmac
import shutil
import socket
from pathlib import Path

import pytest
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from octavia_stream.config import LiveSettings
from octavia_stream.webrtc.ice_sockets import SocketRules
from octavia_stream.webrtc.peer import Peer
from octavia_stream.webrtc.turn import ice_servers
from tests.webrtc.clients import ToneTrack, accept, offer, until

SECRET = "shared with coturn alone"
LOOPBACK = "127.0.0.1"


def settings(port: int = 3478) -> LiveSettings:
    urls = [f"turn:{LOOPBACK}:{port}?transport=udp"]
    return LiveSettings.model_validate({"turn_urls": urls, "turn_secret": SECRET, "turn_credentials_s": 60})


def test_credentials_are_what_coturn_computes_from_the_shared_secret() -> None:
    [server] = ice_servers(settings(), "ana", now=1_000.0)

    assert server.username == "1060:ana"
    expected = hmac.new(SECRET.encode(), b"1060:ana", hashlib.sha1).digest()
    assert server.credential == base64.b64encode(expected).decode()


def test_without_a_secret_there_is_no_turn_and_stun_needs_none() -> None:
    assert ice_servers(LiveSettings(), "ana") == []
    [server] = ice_servers(LiveSettings(stun_urls=("stun:stun.example.org",)), "ana")
    assert (server.urls, server.username) == (("stun:stun.example.org",), None)


@pytest.mark.skipif(shutil.which("turnserver") is None, reason="coturn is not installed (Debian: coturn)")
async def test_a_client_that_reaches_nothing_but_turn_is_heard(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    options = {
        "static-auth-secret": SECRET,
        "realm": "octavia.test",
        "listening-ip": LOOPBACK,
        "listening-port": port,
        "relay-ip": LOOPBACK,
        "pidfile": tmp_path / "pid",
        "userdb": tmp_path / "users",
        "log-file": tmp_path / "log",
    }
    switches = (
        "-n",
        "--use-auth-secret",
        "--no-tls",
        "--no-dtls",
        "--no-cli",
        "--allow-loopback-peers",
        "--simple-log",
    )
    coturn = await asyncio.create_subprocess_exec(
        "turnserver",
        *switches,
        *(f"--{name}={value}" for name, value in options.items()),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until(lambda: is_bound(port))
        [server] = ice_servers(settings(port), "ana")
        await speak_by_relay(server.urls[0], str(server.username), str(server.credential))
    finally:
        coturn.terminate()
        await coturn.wait()


def is_bound(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


async def speak_by_relay(url: str, username: str, credential: str) -> None:
    heard: list[object] = []
    peer = Peer("ingest", SocketRules(host=LOOPBACK), sink=heard.append)
    servers = [RTCIceServer(urls=[url], username=username, credential=credential)]
    client = RTCPeerConnection(RTCConfiguration(iceServers=servers, iceTransportPolicy=RTCIceTransportPolicy.RELAY))
    client.addTransceiver(ToneTrack(), direction="sendonly")
    sdp = await offer(client)
    assert "typ relay" in sdp
    assert "typ host" not in sdp
    await accept(client, await peer.answer(sdp))
    await until(lambda: len(heard) > 10)
    await peer.close()
    await client.close()
