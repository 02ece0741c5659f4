"""A real server on loopback, people who use it, and a worker that plays from a script."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from litestar import Litestar

from api.app import create_app
from api.main import ApiServer, uvicorn_config
from octavia_stream.config import Settings
from octavia_stream.events.event import Analysed, JobEvent, Progress, StageCount, Warned
from octavia_stream.jobs.job import Artifact, Claim
from octavia_stream.jobs.quality import QualityReport
from octavia_stream.runtime import Runtime

DATA = Path(__file__).parents[1] / "data"
VIDEO = DATA / "video" / "friday.mp4"
PASSWORD = "correct horse battery"


@asynccontextmanager
async def serving(app: Litestar, settings: Settings) -> AsyncIterator[str]:
    """Serve an application on a free port of loopback; yields its address."""
    server = ApiServer(uvicorn_config(app, settings.api.model_copy(update={"port": 0})), app)
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            task.result()
            raise RuntimeError("the server did not start")
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port_of(server)}"
    finally:
        server.should_exit = True
        await task


def port_of(server: uvicorn.Server) -> int:
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


@dataclass(frozen=True)
class Person:
    """Somebody with an account, and their own connection."""

    id: UUID
    email: str
    token: str
    http: httpx.AsyncClient


@pytest.fixture(scope="module")
async def app(settings: Settings) -> Litestar:
    return create_app(settings)


@pytest.fixture(scope="module")
async def address(app: Litestar, settings: Settings) -> AsyncIterator[str]:
    async with serving(app, settings) as url:
        yield url


@pytest.fixture(scope="module")
async def anyone(address: str) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without an account."""
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        yield client


@asynccontextmanager
async def person(address: str) -> AsyncIterator[Person]:
    email = f"{uuid4().hex}@example.org"
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        answer = await client.post("/api/v1/auth/sign-up", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        token = answer.json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield Person(UUID(answer.json()["account"]["id"]), email, token, client)


@pytest.fixture(scope="module")
async def alice(address: str) -> AsyncIterator[Person]:
    async with person(address) as somebody:
        yield somebody


@pytest.fixture(scope="module")
async def bob(address: str) -> AsyncIterator[Person]:
    async with person(address) as somebody:
        yield somebody


async def upload_video(somebody: Person, filename: str = "talk.mp4") -> dict[str, Any]:
    with VIDEO.open("rb") as file:
        answer = await somebody.http.post("/api/v1/upload?file_type=video", files={"file": (filename, file)})
    assert answer.status_code == 201, answer.text
    upload: dict[str, Any] = answer.json()
    return upload


async def create_job(somebody: Person, upload_id: str, **options: Any) -> dict[str, Any]:
    wish = {"upload_id": upload_id, "target_language": "pt", **options}
    answer = await somebody.http.post("/api/v1/jobs/video-translate/create", json=wish)
    assert answer.status_code == 201, answer.text
    job: dict[str, Any] = answer.json()
    return job


NewJob = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture(scope="module")
async def new_job(alice: Person) -> NewJob:
    """Makes jobs of Alice, all from one upload."""
    upload = await upload_video(alice)

    async def make(*, submit: bool = False, **options: Any) -> dict[str, Any]:
        job = await create_job(alice, upload["id"], **options)
        if submit:
            answer = await alice.http.post(f"/api/v1/jobs/{job['id']}/process")
            assert answer.status_code == 202, answer.text
        return job

    return make


RESULT = bytes(range(256)) * 40
SUBTITLES = "1\n00:00:00,000 --> 00:00:01,000\nOlá\n".encode()


class ScriptedWorker:
    """Does to a job what a worker does, through the same store, when the test says so."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._claim: Claim | None = None

    @property
    def claim(self) -> Claim:
        assert self._claim is not None
        return self._claim

    async def take(self, job_id: str) -> None:
        """Claim this job; jobs that other tests left are ended on the way."""
        while (claim := await self._runtime.jobs.claim("scripted", 60.0)) is not None:
            if str(claim.job.id) == job_id:
                self._claim = claim
                return
            await self._runtime.jobs.finish(claim, "failed", error=("left", "Left by another test.", False))
        raise AssertionError("the job was not submitted")

    async def tell(self, *events: JobEvent) -> None:
        await self._runtime.jobs.append(self.claim, events)

    async def progress(self, percent: float, remaining_s: float | None = None) -> None:
        stages = {"transcribe": StageCount(int(percent), 100, True)}
        await self.tell(Progress("TRANSCRIBING", percent, stages, remaining_s))

    async def complete(self, dub: bytes = RESULT, quality: QualityReport | None = None) -> None:
        artifacts = [
            await self._store("dub.mp4", "video/mp4", dub),
            await self._store("source.srt", "application/x-subrip", SUBTITLES),
        ]
        await self._runtime.jobs.finish(
            self.claim,
            "completed",
            artifacts=artifacts,
            report={"segments": 3, "share_in_slot": 1.0},
            quality=quality,
        )

    async def fail(self, code: str, message: str) -> None:
        await self._runtime.jobs.finish(self.claim, "failed", error=(code, message, False))

    async def play(self, job_id: str) -> None:
        """A whole short job."""
        await self.take(job_id)
        await self.tell(Analysed(2.0, "en", "pt", "a-voice"), Warned("music", "There is music."))
        for percent in (10.0, 50.0, 90.0):
            await self.progress(percent, 100 - percent)
        await self.complete()

    async def _store(self, name: str, content_type: str, content: bytes) -> Artifact:
        key = f"jobs/{self.claim.job.id}/{name}"
        stored = await self._runtime.objects.put(key, content)
        assert stored.sha256 == hashlib.sha256(content).hexdigest()
        return Artifact(name, key, content_type, stored.size, stored.sha256)


@pytest.fixture
async def worker(runtime: Runtime) -> ScriptedWorker:
    return ScriptedWorker(runtime)


async def read_sse(response: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """Messages of an event stream, as their fields; comments are under `:`."""
    message: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            message[name or ":"] = value.removeprefix(" ")
        elif message:
            yield message
            message = {}


async def eventually(check: Callable[[], Awaitable[bool]], what: str, within_s: float = 30.0) -> None:
    """Wait until `check` holds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while not await check():  # noqa: ASYNC110  (nothing tells when)
                await asyncio.sleep(0.05)
            return
    raise AssertionError(f"never happened: {what}")
