"""The viewer of the benchmarks waits for sound, and for nothing less."""

import asyncio
import time

import httpx
import pytest

from benchmarks import watching
from benchmarks.watching import Watcher
from octavia_stream.cli.client import Credentials
from octavia_stream.dubbing.hls import Choice, MediaPlaylist, master_playlist
from octavia_stream.languages import Language

STREAM = "/api/v1/jobs/a-job/stream/"
CHOICES = [
    Choice("dub.m3u8", Language("pt"), "Portuguese (dubbed)"),
    Choice("original.m3u8", Language("en"), "English (original)"),
]


class Server:
    """Answers one job's viewer. The stream is there from the third time that it is asked for, sound from the next."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._dub = MediaPlaylist("dub", "m4s", "dub-init.mp4")

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/auth/log-in":
            return httpx.Response(200, json={"access_token": "a-token"})
        assert request.headers["Authorization"] == "Bearer a-token"
        name = request.url.path.removeprefix(STREAM)
        self.asked.append(name)
        if name == "index.m3u8":
            ready = self.asked.count(name) == 3
            text = master_playlist(CHOICES, [], None, channels=1, base="1/")
            return httpx.Response(200, text=text) if ready else httpx.Response(404)
        if name == "1/dub.m3u8":
            if self.asked.count(name) == 2:
                self._dub.append(4.0)
            return httpx.Response(200, text=self._dub.text())
        return httpx.Response(200, content=b"sound") if name == "1/dub-00001.m4s" else httpx.Response(404)


async def test_the_moment_is_that_of_the_first_dubbed_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setattr(watching, "ASK_AGAIN_S", 0.0)
    async with Watcher("http://server", Credentials("a@example.org", "a password"), httpx.MockTransport(server)) as one:
        started_at = time.monotonic()
        async with one.watching("a-job") as playable, asyncio.timeout(30):
            assert started_at <= await playable <= time.monotonic()
    assert server.asked == ["index.m3u8"] * 3 + ["1/dub.m3u8"] * 2 + ["1/dub-00001.m4s"]
