"""The HTTP door under load, each figure beside the bare framework's in the same run.

The api is one process, as the launcher starts it, on its own Postgres and Valkey; the load comes from another. No Ray:
nothing is dubbed.
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx
import msgspec
import numpy as np
import psutil

from benchmarks.api_client import Ask, Load, Requests, Task, Upload, Watch
from benchmarks.figure import Figure, Section, at_least, at_most, ratio
from benchmarks.processes import MIB, Observer
from benchmarks.sound import write_wav
from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.config import LimitSettings, Settings
from octavia_stream.database.migrate import migrate
from octavia_stream.errors import DependencyUnavailable
from octavia_stream.events.event import Progress, StageCount
from octavia_stream.jobs.job import Claim, DubbingOptions
from octavia_stream.launcher.child import Child
from octavia_stream.launcher.ports import free_ports
from octavia_stream.runtime import Runtime, open_runtime
from octavia_stream.services.embedded import embedded_services

CONNECTIONS = 16
WATCHED_JOBS = 20
EVENT_S = 1.0
NO_BOUND = 10**9
PASSWORD = "a benchmark's password"  # noqa: S105  (of an account that lives for a minute)
START_S = 60.0
LOAD_S = 300.0
SAMPLE_S = 0.05
FULL = (5.0, 1500, 512, 1000, 20.0)
QUICK = (1.0, 200, 64, 100, 4.0)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    read_s: float
    submits: int
    upload_mib: int
    sockets: int
    watch_s: float


@dataclass(slots=True)
class Server:
    """A server's process."""

    port: int
    process: psutil.Process
    peak_mib: float = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Meanwhile the largest memory is kept."""
        ended = threading.Event()
        self.peak_mib = 0.0

        def sample() -> None:
            while not ended.wait(SAMPLE_S):
                self.peak_mib = max(self.peak_mib, self.process.memory_info().rss / MIB)

        sampler = threading.Thread(target=sample, daemon=True)
        sampler.start()
        try:
            yield
        finally:
            ended.set()
            sampler.join()

    def cpu_s(self) -> float:
        """CPU seconds of the process itself until now."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@dataclass(slots=True)
class Measured:
    """One kind of load on one server."""

    load: Load
    cpu_s: float

    @property
    def cpu_ms(self) -> float:
        """CPU of the server for one request or message."""
        return ratio(1000 * self.cpu_s, self.load.count)


@dataclass(slots=True)
class _Api:
    """The api, somebody who uses it, and its stores seen from beside."""

    server: Server
    bare: Server
    runtime: Runtime
    directory: Path
    size: Size
    token: str = ""
    account_id: UUID = field(default_factory=lambda: UUID(int=0))
    upload_id: UUID = field(default_factory=lambda: UUID(int=0))


async def measure_api(settings: Settings, directory: Path, *, quick: bool) -> Section:
    """Raises DependencyUnavailable when a part does not start, TimeoutError when the load does not end."""
    size = Size(*(QUICK if quick else FULL))
    with Observer() as observer:
        async with _running(settings, directory, size) as api:
            reads = await _both(api, _reads)
            submits = await _both(api, _submits)
            uploads = await _both(api, _uploads)
            peak_mib = api.server.peak_mib
            sockets = await _both(api, _sockets)
    figures = [
        *_rates("reads of a job", reads, 350),
        *_rates("submits with a reservation", submits, 150),
        Figure("upload, sound of a WAV", uploads[0].load.rate / 1e6, "MB/s", at_least(50)),
        Figure("upload to the bare framework, onto disk", uploads[1].load.rate / 1e6, "MB/s"),
        Figure("api: most memory while a file comes", peak_mib, "MiB", at_most(200 * 1e6 / MIB)),
        *_delays(size, sockets),
    ]
    return Section("API, one process", figures, {"api": observer.usage.other_cores})


def _rates(what: str, measured: tuple[Measured, Measured], goal: float) -> list[Figure]:
    api, bare = measured
    return [
        Figure(what, api.load.rate, "/s", at_least(goal)),
        Figure(f"{what}: 99 % within", api.load.latencies_ms[1], "ms"),
        Figure(f"{what}: CPU of the api for each", api.cpu_ms, "ms"),
        Figure(f"{what}: the bare framework", bare.load.rate, "/s"),
        Figure(f"{what}: CPU of the bare framework for each", bare.cpu_ms, "ms"),
    ]


def _delays(size: Size, measured: tuple[Measured, Measured]) -> list[Figure]:
    api, bare = measured
    what = f"{size.sockets:,} WebSockets, an event a second"
    wanted = size.sockets * (size.watch_s / EVENT_S - 1)
    return [
        Figure(f"{what}: middle of the delays", api.load.latencies_ms[0], "ms"),
        Figure(f"{what}: 99 % of the delays within", api.load.latencies_ms[1], "ms", at_most(500)),
        Figure(f"{what}: share that came", 100 * min(ratio(api.load.count, wanted), 1.0), "%", at_least(99)),
        Figure(f"{what}: CPU of the api for each event", api.cpu_ms, "ms"),
        Figure(f"{what}: the bare framework, 99 % within", bare.load.latencies_ms[1], "ms"),
        Figure(f"{what}: CPU of the bare framework for each event", bare.cpu_ms, "ms"),
    ]


@asynccontextmanager
async def _running(settings: Settings, directory: Path, size: Size) -> AsyncIterator[_Api]:
    """Services, the api and the bare application, taken down at the end."""
    tier = {"concurrent_jobs": 0} | dict.fromkeys(("reads_per_minute", "writes_per_minute"), NO_BOUND)
    limits = {"requests_per_address": NO_BOUND, "standard": tier}
    chosen = settings.model_copy(update={"home": directory / "api-home"})
    chosen.home.mkdir(mode=0o755)
    async with embedded_services(chosen) as urls:
        await migrate(urls.database_url)
        port, bare_port = free_ports(2)
        environment = urls.environment() | {
            "OCTAVIA_HOME": str(chosen.home),
            "OCTAVIA_API__PORT": str(port),
            "OCTAVIA_LOG_FORMAT": "json",
            "OCTAVIA_LIMITS": msgspec.json.encode(limits).decode(),
            "OCTAVIA_BILLING": msgspec.json.encode({"enabled": True, "free_credits": NO_BOUND}).decode(),
        }
        (directory / "bare-answer.json").write_bytes(b"{}")
        unbound = {
            "billing": settings.billing.model_copy(update={"enabled": True, "free_credits": NO_BOUND}),
            "limits": LimitSettings.model_validate(limits),
        }
        async with (
            open_runtime(urls.settings(chosen).model_copy(update=unbound)) as runtime,
            _child("api", ["-m", "api.main"], environment, directory, f"http://127.0.0.1:{port}/readyz") as child,
        ):
            api = _Api(Server(port, psutil.Process(child.pid)), Server(0, psutil.Process()), runtime, directory, size)
            await _sign_up(api)
            bare_arguments = ["-m", "benchmarks.bare_app", str(bare_port), str(directory)]
            address = f"http://127.0.0.1:{bare_port}/job"
            async with _child("bare", bare_arguments, {}, directory, address) as bare:
                api.bare = Server(bare_port, psutil.Process(bare.pid))
                yield api


@asynccontextmanager
async def _child(
    name: str, arguments: list[str], environment: dict[str, str], directory: Path, address: str
) -> AsyncIterator[Child]:
    child = await Child.start(
        name, [sys.executable, *arguments], {**os.environ, **environment}, directory / f"{name}.log"
    )
    try:
        async with asyncio.timeout(START_S), httpx.AsyncClient() as client:
            while not await _answers(client, address):
                if child.exit_code is not None:
                    raise DependencyUnavailable(f"The {name} did not start: {' '.join(child.last_words(3))}")
                await asyncio.sleep(0.1)
        yield child
    finally:
        await child.stop(5.0)


async def _answers(client: httpx.AsyncClient, address: str) -> bool:
    try:
        return (await client.get(address)).is_success
    except httpx.HTTPError:
        return False


async def _sign_up(api: _Api) -> None:
    """Somebody with credits and a short recording; their job is what the bare framework answers with."""
    short = api.directory / "short.wav"
    write_wav(short, AudioChunk(np.zeros(16_000, np.float32), 16_000))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.server.port}/api/v1", timeout=60) as client:
        known = {"email": "bench@example.org", "password": PASSWORD}
        made = (await client.post("/auth/sign-up", json=known)).raise_for_status().json()
        api.token, api.account_id = made["access_token"], UUID(made["account"]["id"])
        client.headers["Authorization"] = f"Bearer {api.token}"
        sent = await client.post("/upload?file_type=audio", files={"file": ("short.wav", short.read_bytes())})
        api.upload_id = UUID(sent.raise_for_status().json()["id"])
        job = await _new_job(api)
        answer = (await client.get(f"/jobs/{job}")).raise_for_status().content
    (api.directory / "bare-answer.json").write_bytes(answer)


async def _new_job(api: _Api) -> UUID:
    options = DubbingOptions(target_language="pt")
    return (await api.runtime.jobs.create(api.account_id, "video-translate", api.upload_id, options)).id


_Measure = Callable[[_Api, Server], Awaitable[Measured]]


async def _both(api: _Api, measure: _Measure) -> tuple[Measured, Measured]:
    return await measure(api, api.server), await measure(api, api.bare)


async def _reads(api: _Api, server: Server) -> Measured:
    ask = Ask("GET", "/job")
    if server is api.server:
        ask = Ask("GET", f"/api/v1/jobs/{await _new_job(api)}", api.token)
    await _load(server, Requests(server.port, [ask], CONNECTIONS, 0.5, 200))
    return await _load(server, Requests(server.port, [ask], CONNECTIONS, api.size.read_s, 200))


async def _submits(api: _Api, server: Server) -> Measured:
    if server is api.bare:
        return await _load(server, Requests(server.port, [Ask("POST", "/process")], CONNECTIONS, api.size.read_s, 202))
    jobs = [await _new_job(api) for _ in range(api.size.submits)]
    asks = [Ask("POST", f"/api/v1/jobs/{job}/process", api.token) for job in jobs]
    return await _load(server, Requests(server.port, asks, CONNECTIONS, None, 202))


async def _uploads(api: _Api, server: Server) -> Measured:
    file = api.directory / "large.wav"
    if not file.exists():
        # Noise at 48 kHz, over and over: nothing on the way can make it smaller.
        noise = np.random.default_rng(7).uniform(-0.1, 0.1, 960_000).astype(np.float32)
        write_wav(file, AudioChunk(noise, 48_000), round(api.size.upload_mib * MIB / 1_920_000))
    ask = Ask("POST", "/upload")
    if server is api.server:
        ask = Ask("POST", "/api/v1/upload?file_type=audio&filename=large.wav", api.token)
    with server.watched():
        return await _load(server, Upload(server.port, ask, str(file)))


async def _sockets(api: _Api, server: Server) -> Measured:
    if server is api.bare:
        return await _load(server, Watch(server.port, [Ask("GET", "/events")] * api.size.sockets, api.size.watch_s))
    claims = [await _claimed(api) for _ in range(WATCHED_JOBS)]
    asks = [
        Ask("GET", f"/api/v1/jobs/{claims[number % WATCHED_JOBS].job.id}/events", api.token)
        for number in range(api.size.sockets)
    ]
    ready = asyncio.Event()
    telling = asyncio.create_task(_tell(api, claims, ready))
    try:
        return await _load(server, Watch(server.port, asks, api.size.watch_s), ready)
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _claimed(api: _Api) -> Claim:
    """A job that this process works on, as a worker would."""
    job_id = await _new_job(api)
    await api.runtime.jobs.submit(job_id, api.account_id)
    while (claim := await api.runtime.jobs.claim("bench", LOAD_S)) is not None:
        if claim.job.id == job_id:
            return claim
    raise DependencyUnavailable("The benchmark's job was not there to claim.")


async def _tell(api: _Api, claims: list[Claim], ready: asyncio.Event) -> None:
    """An event a second for each job, all at the same moment: the worst that can be asked."""
    await ready.wait()
    for number in range(10**6):
        event = Progress("TRANSCRIBING", min(number, 99), {"transcribe": StageCount(number, 10**6, True)})
        await asyncio.gather(asyncio.sleep(EVENT_S), *(api.runtime.jobs.append(claim, [event]) for claim in claims))


async def _load(server: Server, task: Task, ready: asyncio.Event | None = None) -> Measured:
    """Let the other process do it. ready: set when it has opened everything."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.api_client"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MIB * 16,
    )
    if child.stdin is None or child.stdout is None:
        raise DependencyUnavailable("The load could not be started.")
    try:
        async with asyncio.timeout(LOAD_S):
            child.stdin.write(msgspec.json.encode(task) + b"\n")
            await child.stdin.drain()
            cpu_s = server.cpu_s()
            line = await child.stdout.readline()
            if line == b"ready\n":
                cpu_s = server.cpu_s()
                if ready is not None:
                    ready.set()
                line = await child.stdout.readline()
        if not line:
            raise DependencyUnavailable("The load ended without figures; what it said is above.")
        return Measured(msgspec.json.decode(line, type=Load), server.cpu_s() - cpu_s)
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
