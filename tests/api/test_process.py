"""The api as a process: killed, restarted, asked to stop, and fed files larger than its memory."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from octavia_stream.config import Settings
from octavia_stream.runtime import Runtime
from tests.api.api_process import ApiProcess, wav_header
from tests.api.conftest import Person, ScriptedWorker, create_job, eventually, person, read_sse, upload_video

pytestmark = pytest.mark.services


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[ApiProcess]:
    running = ApiProcess(settings)
    await running.start()
    yield running
    await running.end(signal.SIGKILL)


@asynccontextmanager
async def socket_of(somebody: Person, api: ApiProcess, job_id: str, after: int) -> AsyncIterator[Any]:
    url = f"ws://127.0.0.1:{api.port}/api/v1/jobs/{job_id}/events?after={after}"
    async with connect(url, additional_headers={"Authorization": f"Bearer {somebody.token}"}) as connection:
        yield connection


class Watcher:
    """A client that comes back with the last number it saw, until the job has ended."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.ended = False
        self.breaks = 0

    @property
    def last(self) -> int:
        return self.seen[-1] if self.seen else 0

    async def over_websocket(self, somebody: Person, api: ApiProcess, job_id: str) -> None:
        while not self.ended:
            try:
                async with socket_of(somebody, api, job_id, self.last) as connection:
                    async for message in connection:
                        self._note(json.loads(message))
                    self.breaks += not self.ended
            except (OSError, ConnectionClosed):
                self.breaks += 1
                await asyncio.sleep(0.05)

    async def over_sse(self, somebody: Person, job_id: str) -> None:
        while not self.ended:
            headers = {"Last-Event-ID": str(self.last)}
            try:
                async with somebody.http.stream("GET", f"/api/v1/jobs/{job_id}/events", headers=headers) as response:
                    async for message in read_sse(response):
                        if "data" in message:
                            self._note(json.loads(message["data"]))
            except httpx.TransportError:
                self.breaks += 1
                await asyncio.sleep(0.05)

    def _note(self, record: dict[str, Any]) -> None:
        self.seen.append(record["seq"])
        self.ended = record["event"]["type"] == "completed"


async def test_a_killed_api_costs_watchers_nothing(api: ApiProcess, runtime: Runtime) -> None:
    async with person(api.address) as somebody:
        upload = await upload_video(somebody)
        job_id = (await create_job(somebody, upload["id"]))["id"]
        await somebody.http.post(f"/api/v1/jobs/{job_id}/process")
        worker = ScriptedWorker(runtime)
        await worker.take(job_id)
        over_websocket, over_sse = Watcher(), Watcher()
        async with asyncio.TaskGroup() as group:
            group.create_task(over_websocket.over_websocket(somebody, api, job_id))
            group.create_task(over_sse.over_sse(somebody, job_id))
            for round_number in range(3):
                for step in range(5):
                    await worker.progress(round_number * 30.0 + step)
                expected = (await runtime.jobs.get(worker.claim.job.id, somebody.id)).last_seq

                async def both_saw(expected: int = expected) -> bool:
                    return over_websocket.last >= expected and over_sse.last >= expected

                if round_number == 1:
                    await eventually(both_saw, "both watchers keep up")
                if round_number < 2:
                    await api.end(signal.SIGKILL)
                    # The worker goes on while nobody can ask.
                    await worker.progress(round_number * 30.0 + 20)
                    await api.start()
            await worker.complete()
        last = (await runtime.jobs.get(worker.claim.job.id, somebody.id)).last_seq
        assert over_websocket.seen == list(range(1, last + 1))
        assert over_sse.seen == list(range(1, last + 1))
        assert over_websocket.breaks >= 2
        assert over_sse.breaks >= 2


async def test_an_api_that_is_asked_to_stop_tells_its_watchers(api: ApiProcess, runtime: Runtime) -> None:
    async with person(api.address) as somebody:
        upload = await upload_video(somebody)
        job_id = (await create_job(somebody, upload["id"]))["id"]
        await somebody.http.post(f"/api/v1/jobs/{job_id}/process")
        async with (
            socket_of(somebody, api, job_id, 0) as connection,
            somebody.http.stream("GET", f"/api/v1/jobs/{job_id}/events") as response,
        ):
            await connection.recv()
            messages = read_sse(response)
            await anext(messages)
            stopping = asyncio.create_task(api.end(signal.SIGTERM))
            with pytest.raises(ConnectionClosed):
                await connection.recv()
            assert connection.close_code == 1012
            # The event stream ends whole, so that the browser comes back by itself.
            assert [message.get("id") async for message in messages] == ["1"]
            code = await stopping
        assert code in {0, -signal.SIGTERM}


BIG_BYTES = 300 * 1024 * 1024
PIECE = b"\x00\x01" * (256 * 1024)
ALLOWED_GROWTH = 100 * 1024 * 1024
"""A third of the file: parts in flight and what the allocators keep."""


async def big_file(as_form: bool) -> AsyncIterator[bytes]:
    if as_form:
        yield b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="long.wav"\r\n\r\n'
    yield wav_header(BIG_BYTES)
    for _ in range(BIG_BYTES // len(PIECE)):
        yield PIECE
    if as_form:
        yield b"\r\n--frontier--\r\n"


@pytest.mark.parametrize("as_form", [True, False], ids=["form", "raw"])
async def test_a_file_of_300_mb_passes_through_little_memory(api: ApiProcess, runtime: Runtime, as_form: bool) -> None:
    server = psutil.Process(api.process.pid)
    content_type = "multipart/form-data; boundary=frontier" if as_form else "application/octet-stream"
    async with person(api.address) as somebody:
        await upload_video(somebody)
        before = peak = server.memory_info().rss
        uploading = asyncio.create_task(
            somebody.http.post(
                "/api/v1/upload?file_type=audio&filename=long.wav",
                content=big_file(as_form),
                headers={"Content-Type": content_type},
                timeout=200,
            )
        )
        while not uploading.done():
            peak = max(peak, server.memory_info().rss)
            await asyncio.sleep(0.02)
        answer = await uploading
    assert answer.status_code == 201, answer.text
    assert answer.json()["size"] == BIG_BYTES + 44
    print(f"peak growth {(peak - before) / 2**20:.0f} MB, at rest {before / 2**20:.0f} MB")
    assert peak - before < ALLOWED_GROWTH
    await runtime.objects.delete(f"uploads/{answer.json()['id']}")
