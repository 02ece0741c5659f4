"""A dub is watched through the door while it is made: by its owner, to its end, and across the loss of a worker."""

import asyncio
import dataclasses
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import av
import httpx
import pytest

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.config import WorkerSettings
from octavia_stream.dubbing.engines import local
from octavia_stream.events.event import StreamReady
from octavia_stream.jobs.every_kind import EveryKind
from octavia_stream.jobs.worker import JobWorker
from octavia_stream.models.registry import Registry
from octavia_stream.runtime import Runtime
from octavia_stream.scheduling.share import alike
from octavia_stream.testing import ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator
from octavia_stream.tts.voice import Voice
from tests.api.conftest import DATA, Person, eventually

pytestmark = pytest.mark.services

TALK = DATA / "video" / "muxed_pt.mp4"
TALK_S = 66.2
LOSE = "update job set lease_until = now() - interval '1 ms' where id = $1::text::uuid and epoch = 1"
LISTS = ("picture", "dub", "original", "subtitles-target", "subtitles-source")


class GatedSynthesizer(ScriptedSynthesizer):
    """Speaks a few sentences, and the others when it may."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self._gate = gate
        self._calls = 0

    def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        self._calls += 1
        if self._calls > 5 and not self._gate.wait(120):
            raise AssertionError("the gate stayed shut")
        return super().synthesize(text, voice, speed)


@asynccontextmanager
async def working(runtime: Runtime, gate: threading.Event) -> AsyncIterator[None]:
    """A worker whose voice waits at the gate."""
    settings = runtime.settings.model_copy(
        update={"worker": WorkerSettings(poll_s=0.1, heartbeat_s=0.2, concurrent_jobs=1)}
    )
    quick = dataclasses.replace(runtime, settings=settings)
    engines = local(ScriptedTranscriber(), ScriptedTranslator(), GatedSynthesizer(gate))
    worker = JobWorker(quick, EveryKind(quick, alike(engines), Registry(settings.models, settings.home)), "streaming")
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        gate.set()
        worker.drain()
        async with asyncio.timeout(30):
            await running


@pytest.fixture(scope="module")
async def upload_id(alice: Person) -> str:
    content = await asyncio.to_thread(TALK.read_bytes)
    answer = await alice.http.post("/api/v1/upload?file_type=video", files={"file": ("talk.mp4", content)})
    return str(answer.json()["id"])


async def started(alice: Person, upload_id: str) -> str:
    """The address of a job that streams."""
    wish = {"upload_id": upload_id, "target_language": "pt", "source_language": "en", "stream": True}
    answer = await alice.http.post("/api/v1/jobs/video-translate/create", json=wish)
    assert answer.status_code == 201, answer.text
    where = answer.headers["location"]
    assert (await alice.http.get(f"{where}/stream/index.m3u8")).status_code == 404
    assert (await alice.http.post(f"{where}/process")).status_code == 202
    return str(where)


async def watchable(alice: Person, where: str) -> None:
    async def found() -> bool:
        return (await alice.http.get(f"{where}/stream/index.m3u8")).status_code == 200

    await eventually(found, "the job can be watched", 60)


async def ended(alice: Person, where: str, status: str) -> None:
    async def over() -> bool:
        job: dict[str, Any] = (await alice.http.get(where)).json()
        return bool(job["status"] == status)

    await eventually(over, f"the job is {status}", 90)


async def lists(alice: Person, where: str) -> dict[str, httpx.Response]:
    """The answers that carry the playlists, by path, as the master playlist names them."""
    master = (await alice.http.get(f"{where}/stream/index.m3u8")).text
    paths = re.findall(r'URI="([^"]+)"', master) + [line for line in master.splitlines() if line[:1].isdigit()]
    return {path: await alice.http.get(f"{where}/stream/{path}") for path in dict.fromkeys(paths)}


def files(playlist: str) -> list[str]:
    heads = re.findall(r'#EXT-X-MAP:URI="([^"]+)"', playlist)
    return [*heads, *(line for line in playlist.splitlines() if line and not line.startswith("#"))]


async def saved(alice: Person, where: str, folder: Path) -> Path:
    """The whole stream on disk; returns the master playlist."""
    (folder / "index.m3u8").write_bytes((await alice.http.get(f"{where}/stream/index.m3u8")).content)
    for path, answer in (await lists(alice, where)).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(answer.content)
        epoch = path.partition("/")[0]
        for name in files(answer.text):
            part = await alice.http.get(f"{where}/stream/{epoch}/{name}")
            assert part.status_code == 200, name
            (folder / epoch / name).write_bytes(part.content)
    return folder / "index.m3u8"


def played_s(master: Path) -> float:
    """How long the default sound plays."""
    with av.open(str(master), options={"allowed_extensions": "ALL", "extension_picky": "0"}) as container:
        assert len(container.streams.video) == 1
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


async def test_a_list_grows_while_the_job_runs_and_ends_with_it(
    alice: Person, bob: Person, anyone: httpx.AsyncClient, runtime: Runtime, upload_id: str, tmp_path: Path
) -> None:
    gate = threading.Event()
    async with working(runtime, gate):
        where = await started(alice, upload_id)
        await watchable(alice, where)
        early = await lists(alice, where)
        assert {path.partition("/")[2] for path in early} == {f"{name}.m3u8" for name in LISTS}
        for path, answer in early.items():
            assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
            assert "no-cache" in answer.headers["cache-control"]
            assert "#EXT-X-ENDLIST" not in answer.text
            for name in files(answer.text):
                part = f"{where}/stream/{path.partition('/')[0]}/{name}"
                assert (await alice.http.get(part)).status_code == 200
                assert (await bob.http.get(part)).status_code == 404
                assert (await anyone.get(part)).status_code == 401
        assert (await bob.http.get(f"{where}/stream/index.m3u8")).status_code == 404
        assert (await alice.http.get(where)).json()["status"] == "processing"
        gate.set()
        await ended(alice, where, "completed")
    late = await lists(alice, where)
    for path, answer in late.items():
        assert answer.text.startswith(early[path].text)
        assert answer.text.endswith("#EXT-X-ENDLIST\n")
    assert len(files(late["1/dub.m3u8"].text)) > len(files(early["1/dub.m3u8"].text))
    assert played_s(await saved(alice, where, tmp_path)) == pytest.approx(TALK_S, abs=0.2)
    assert (await alice.http.get(where)).json()["warnings"] == []


async def test_a_cancelled_job_closes_its_lists(alice: Person, runtime: Runtime, upload_id: str) -> None:
    gate = threading.Event()
    async with working(runtime, gate):
        where = await started(alice, upload_id)
        await watchable(alice, where)
        await alice.http.post(f"{where}/cancel")
        gate.set()
        await ended(alice, where, "cancelled")
    for answer in (await lists(alice, where)).values():
        assert answer.text.count("#EXT-X-ENDLIST") == 1


async def test_when_a_worker_is_lost_the_next_one_streams_anew(
    alice: Person, runtime: Runtime, upload_id: str, tmp_path: Path
) -> None:
    stuck, free = threading.Event(), threading.Event()
    free.set()
    async with working(runtime, stuck):
        where = await started(alice, upload_id)
        job_id = where.rpartition("/")[2]
        await watchable(alice, where)
        assert all(path.startswith("1/") for path in await lists(alice, where))
        # What a worker did not tell before it was lost, nobody tells.
        await eventually(lambda: told(runtime, job_id, 1), "the event is told")
        async with working(runtime, free):

            async def taken() -> bool:
                await runtime.pool.execute(LOSE, job_id)
                return (await lists(alice, where)).keys() != {f"1/{name}.m3u8" for name in LISTS}

            await eventually(taken, "the next worker streams", 60)
            await ended(alice, where, "completed")
    assert all(path.startswith("2/") for path in await lists(alice, where))
    assert played_s(await saved(alice, where, tmp_path)) == pytest.approx(TALK_S, abs=0.2)
    assert (await alice.http.get(f"{where}/stream/1/dub-00001.m4s")).status_code == 404
    assert await told(runtime, job_id, 2)


async def told(runtime: Runtime, job_id: str, times: int) -> bool:
    """Whether the job has said so often that it can be watched."""
    records = await runtime.jobs.events_after(UUID(job_id), 0)
    return [record.event for record in records].count(StreamReady(picture=True)) == times


@pytest.mark.parametrize("path", ["1/report.json", "1/dub.exe", "0/dub.m3u8", "1/..%2Fdub.m3u8", "9/dub.m3u8"])
async def test_nothing_else_is_found_there(alice: Person, upload_id: str, path: str) -> None:
    wish = {"upload_id": upload_id, "target_language": "pt"}
    where = (await alice.http.post("/api/v1/jobs/video-translate/create", json=wish)).headers["location"]
    answer = await alice.http.get(f"{where}/stream/{path}")
    assert answer.status_code in {400, 404}
