"""A viewer: asks for a job's stream until there is dubbed sound to play."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import httpx

from octavia_stream.cli.client import Credentials

ASK_AGAIN_S = 0.1
"""As often as this costs little of what is measured, and it is as exact as that."""
PLAYLIST = "dub.m3u8"


class Watcher:
    """One account's player. Use as an async context manager."""

    def __init__(self, url: str, credentials: Credentials, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """transport: instead of the network."""
        self._http = httpx.AsyncClient(base_url=url, timeout=30.0, transport=transport)
        self._credentials = credentials

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    @asynccontextmanager
    async def watching(self, job_id: str | None) -> AsyncIterator["asyncio.Future[float]"]:
        """Yields the moment, by `time.monotonic`, at which the first dubbed segment had come; None watches nothing."""
        if job_id is None:
            nothing: asyncio.Future[float] = asyncio.get_running_loop().create_future()
            nothing.set_result(float("nan"))
            yield nothing
            return
        task = asyncio.create_task(self._first_segment(job_id), name="watching")
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _first_segment(self, job_id: str) -> float:
        await self._log_in()
        master_url = f"/api/v1/jobs/{job_id}/stream/index.m3u8"
        master = await self._once_there(master_url, lambda text: PLAYLIST in text)
        playlist_url = urljoin(master_url, next(line for line in _lines(master) if line.endswith(PLAYLIST)))
        playlist = await self._once_there(playlist_url, lambda text: bool(_lines(text)))
        segment = await self._http.get(urljoin(playlist_url, _lines(playlist)[0]))
        segment.raise_for_status()
        return time.monotonic()

    async def _once_there(self, url: str, good: Callable[[str], bool]) -> str:
        while True:
            answer = await self._http.get(url)
            if answer.status_code == httpx.codes.OK and good(answer.text):
                return answer.text
            await asyncio.sleep(ASK_AGAIN_S)

    async def _log_in(self) -> None:
        answer = await self._http.post("/api/v1/auth/log-in", json=asdict(self._credentials))
        answer.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def _lines(playlist: str) -> list[str]:
    """The addresses in a playlist."""
    return [line for line in playlist.splitlines() if line and not line.startswith("#")]
