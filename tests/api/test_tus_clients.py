"""The official clients of tus go on where they were, though the server was killed."""

import asyncio
import hashlib
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import httpx
import pytest
from tusclient.client import TusClient
from tusclient.uploader.uploader import Uploader

from octavia_stream.config import Settings
from octavia_stream.runtime import Runtime
from octavia_stream.storage.objects import PART_BYTES
from tests.api.api_process import ApiProcess, wav_header
from tests.api.conftest import Person, eventually, person

pytestmark = pytest.mark.services

MB = 1024 * 1024
NODE = Path(sys.executable).parent / "node"
JS_CLIENT = Path(__file__).parents[1] / "javascript" / "tus_client.js"
STOPPED = 3
METADATA = {"filename": "long.wav", "file_type": "audio"}


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[ApiProcess]:
    running = ApiProcess(settings)
    await running.start()
    yield running
    await running.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes of noise, in 24 MB."""
    path = tmp_path_factory.mktemp("recording") / "long.wav"
    noise = random.Random(3).randbytes(24 * MB)  # noqa: S311  (any bytes do)
    path.write_bytes(wav_header(len(noise)) + noise)
    return path


def uploader(api: ApiProcess, somebody: Person, file: BinaryIO, url: str | None = None) -> Uploader:
    client = TusClient(f"{api.address}/api/v1/tus", headers={"Authorization": f"Bearer {somebody.token}"})
    return client.uploader(file_stream=file, chunk_size=MB, metadata=METADATA, url=url)


async def require_whole(runtime: Runtime, somebody: Person, url: str, path: Path) -> None:
    """The upload is there, is what was sent, and its pieces are gone."""
    upload = (await somebody.http.get(f"/api/v1/uploads/{url.rpartition('/')[2]}")).json()
    content = await asyncio.to_thread(path.read_bytes)
    assert (upload["filename"], upload["size"]) == ("long.wav", len(content))
    assert upload["sha256"] == hashlib.sha256(content).hexdigest()
    assert [found.key async for found in runtime.objects.list("tus")] == []


async def test_the_python_client_goes_on_after_a_kill_in_the_middle_of_a_piece(
    api: ApiProcess, runtime: Runtime, recording: Path
) -> None:
    hold = asyncio.Event()

    async def slow_piece() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield bytes(MB)
        await hold.wait()

    async with AsyncExitStack() as stack, person(api.address) as somebody:
        file = await asyncio.to_thread(recording.open, "rb")
        stack.callback(file.close)
        first = await asyncio.to_thread(uploader, api, somebody, file)
        await asyncio.to_thread(first.upload, stop_at=3 * MB)
        url = str(first.url)
        upload_id = UUID(url.rpartition("/")[2])

        async def has_begun() -> bool:
            return (await runtime.resumable.get(upload_id, somebody.id)).received > 3 * MB

        # Another program of the same user sends a long piece, and the server dies over it.
        headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": str(3 * MB)}
        headers |= {"Content-Type": "application/offset+octet-stream"}
        sending = asyncio.create_task(somebody.http.patch(url, headers=headers, content=slow_piece()))
        await eventually(has_begun, "a part of the piece is kept")
        await api.end(signal.SIGKILL)
        hold.set()
        with pytest.raises(httpx.TransportError):
            await sending
        await api.start()
        kept = (await runtime.resumable.get(upload_id, somebody.id)).received
        assert 3 * MB + PART_BYTES <= kept <= 15 * MB
        second = await asyncio.to_thread(uploader, api, somebody, file, url)
        assert second.offset == kept
        # What lies there is not this file: give it up, and begin again where it is.
        assert (await somebody.http.delete(url, headers=headers)).status_code == 204
        third = await asyncio.to_thread(uploader, api, somebody, file)
        await asyncio.to_thread(third.upload, stop_at=10 * MB)
        await api.end(signal.SIGKILL)
        await api.start()
        fourth = await asyncio.to_thread(uploader, api, somebody, file, str(third.url))
        assert fourth.offset == 10 * MB
        await asyncio.to_thread(fourth.upload)
        await require_whole(runtime, somebody, str(third.url), recording)


async def test_the_javascript_client_goes_on_after_a_kill(
    api: ApiProcess, runtime: Runtime, recording: Path, tmp_path: Path
) -> None:
    async def run(*more: str) -> tuple[int, str, str]:
        command = (
            f"{api.address}/api/v1/tus",
            somebody.token,
            str(recording),
            "audio/wav",
            str(tmp_path / "state"),
            *more,
        )
        child = await asyncio.create_subprocess_exec(
            NODE, JS_CLIENT, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, told = await child.communicate()
        return child.returncode or 0, out.decode().strip(), told.decode()

    async with person(api.address) as somebody:
        code, _, told = await run(str(9 * MB))
        assert code == STOPPED, told
        await api.end(signal.SIGKILL)
        await api.start()
        code, url, told = await run()
        assert code == 0, told
        assert int(told.split()[1]) > 9 * MB, "it began anew"
        await require_whole(runtime, somebody, url, recording)
