"""ffmpeg 9 as a publisher, sound alone and with a picture."""

import asyncio

import imageio_ffmpeg
import pytest
from aiohttp import web

from octavia_stream.webrtc.ice_sockets import SocketRules
from octavia_stream.webrtc.peer import Peer
from tests.webrtc.clients import until

SOUND = ("-f", "lavfi", "-i", "sine=frequency=300:duration=30")
OPUS = ("-c:a", "libopus", "-b:a", "48k", "-ar", "48000", "-ac", "2")
PICTURE = ("-f", "lavfi", "-i", "testsrc=duration=30:size=160x120:rate=10")
H264 = ("-c:v", "libx264", "-profile:v", "baseline", "-pix_fmt", "yuv420p", "-bf", "0")


@pytest.mark.parametrize("arguments", [(*SOUND, *OPUS), (*PICTURE, *SOUND, *H264, *OPUS)], ids=["sound", "picture"])
async def test_ffmpeg_publishes_by_whip(arguments: tuple[str, ...]) -> None:
    heard: list[int] = []
    peer = Peer("ingest", SocketRules(), sink=lambda samples: heard.append(len(samples)))

    async def whip(request: web.Request) -> web.Response:
        answer = await peer.answer(await request.text())
        return web.Response(status=201, text=answer, content_type="application/sdp", headers={"Location": "/peer"})

    app = web.Application()
    app.router.add_post("/whip", whip)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/whip"
    ffmpeg = await asyncio.create_subprocess_exec(
        imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-re", *arguments, "-f", "whip", url
    )
    try:
        await until(lambda: sum(heard) > 8000, 60)
    finally:
        ffmpeg.kill()
        await ffmpeg.wait()
        await peer.close()
        await runner.cleanup()

    assert peer.inbound is not None
    assert abs(sum(heard) - peer.inbound.samples / 3) <= 1
