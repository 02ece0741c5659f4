"""The whole server, started as a person starts it, with engines that cost nothing."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from pydantic import SecretStr

from octavia_stream.config import ApiSettings, ModelSettings, ServeSettings, Settings
from octavia_stream.errors import Conflict, DependencyUnavailable, OctaviaError
from octavia_stream.launcher.environment import environment_of
from octavia_stream.launcher.home import drain_request, find_stack
from octavia_stream.launcher.stack import Stack, running_server

pytestmark = [pytest.mark.ray, pytest.mark.services]

START_S = 180
STOP_S = 20
AWAY = "postgresql://nobody@127.0.0.1:9/nothing"


@pytest.fixture(scope="module")
def make_home() -> Iterator[Callable[[], Path]]:
    """Short paths that other users can traverse, for Postgres is run as one of them by root."""
    made: list[Path] = []

    def make() -> Path:
        home = Path(tempfile.mkdtemp(prefix="ov-"))
        home.chmod(0o755)
        made.append(home)
        return home

    yield make
    for home in made:
        shutil.rmtree(home, ignore_errors=True)


def scripted(home: Path, **changes: object) -> Settings:
    return Settings(
        home=home, api=ApiSettings(port=0), serve=ServeSettings(engines="octavia_stream.testing")
    ).model_copy(update=changes)


@pytest.fixture(scope="module")
async def stack(make_home: Callable[[], Path]) -> AsyncIterator[Stack]:
    stack = Stack(scripted(make_home()))
    try:
        async with asyncio.timeout(START_S):
            await stack.start()
        yield stack
    finally:
        await stack.stop()


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float = 90) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110  (the other side is another process)
            await asyncio.sleep(0.2)


async def is_ready(url: str) -> bool:
    async with httpx.AsyncClient(timeout=5) as client:
        try:
            return (await client.get(f"{url}/readyz")).is_success
        except httpx.HTTPError:
            return False


def replicas(ray_pid: int) -> set[str]:
    """Names of Serve's replicas on one node, from what Ray calls their processes."""
    names = set()
    for process in psutil.process_iter(["cmdline", "pid"]):
        title = " ".join(process.info["cmdline"] or ())
        if title.startswith("ray::ServeReplica:octavia:") and os.getsid(process.info["pid"]) == ray_pid:
            names.add(title.split(":")[4].split(".")[0].strip())
    return names


async def test_a_started_stack_serves_requests_and_can_be_found(stack: Stack) -> None:
    assert await is_ready(stack.api_url)
    assert set(stack.pids()) == {"api", "ray", "postgres", "valkey"}
    assert replicas(stack.pids()["ray"]) == {"Asr", "Mt", "Tts", "JobWorker"}


async def test_a_second_stack_on_the_same_home_is_refused_and_harms_nothing(stack: Stack) -> None:
    home = stack.settings.home
    second = Stack(stack.settings)

    with pytest.raises(Conflict, match="already runs here"):
        await second.start()
    await second.stop()

    assert await running_server(stack.settings) == stack.api_url
    assert find_stack(home) is not None
    assert await is_ready(stack.api_url)


async def test_a_killed_api_comes_back_at_the_same_address(stack: Stack) -> None:
    before = stack.pids()["api"]

    os.kill(before, signal.SIGKILL)

    async def back() -> bool:
        return stack.pids().get("api", before) != before and await is_ready(stack.api_url)

    await eventually(back)


async def test_a_killed_ray_comes_back_with_the_application_while_the_api_serves(stack: Stack) -> None:
    before, api = stack.pids()["ray"], stack.pids()["api"]

    os.kill(before, signal.SIGKILL)

    async def back() -> bool:
        ray = stack.pids().get("ray", before)
        return ray != before and replicas(ray) == {"Asr", "Mt", "Tts", "JobWorker"}

    await eventually(back, START_S)
    assert stack.pids()["api"] == api
    assert await is_ready(stack.api_url)


async def test_the_command_uses_the_servers_it_is_given_and_ends_without_a_trace(
    stack: Stack, make_home: Callable[[], Path]
) -> None:
    """Beside the first stack, whose Postgres and Valkey it uses; so two of them live on one machine."""
    home = make_home()
    given = stack.services_settings
    settings = scripted(home, database_url=given.database_url, redis_url=given.redis_url)
    command = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("octavia"),
        "serve",
        env=environment_of(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:

        async def ready() -> bool:
            assert command.returncode is None, "it ended by itself"
            return find_stack(home) is not None

        await eventually(ready, START_S)
        family = psutil.Process(command.pid).children(recursive=True)
        found = find_stack(home)
        assert found is not None
        assert await is_ready(found.api_url)
        assert not any("postgres" in process.name() for process in family)
        assert not (home / "postgres").exists()

        command.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_S):
            output, _ = await command.communicate()
    finally:
        if command.returncode is None:
            command.kill()

    assert command.returncode == 0
    _, left = psutil.wait_procs(family, timeout=60)
    assert left == []
    assert find_stack(home) is None
    assert not (home / "serve.json").exists()
    assert "Model servers: ready" in output.decode()
    assert await is_ready(stack.api_url), "the first stack does not mind"


async def test_a_missing_model_is_said_before_anything_starts(make_home: Callable[[], Path]) -> None:
    settings = scripted(make_home(), serve=ServeSettings(), models=ModelSettings(asr="whisper-enormous"))
    broken = Stack(settings)

    with pytest.raises(OctaviaError, match="whisper-enormous"):
        await broken.start()

    assert broken.pids() == {}
    assert find_stack(settings.home) is None
    assert not (settings.home / "postgres").exists()


async def test_what_fails_on_the_way_is_one_sentence_and_what_had_started_is_gone(
    stack: Stack, make_home: Callable[[], Path]
) -> None:
    """A database that does not answer, while Ray is starting already."""
    given = stack.services_settings
    broken = Stack(scripted(make_home(), database_url=SecretStr(AWAY), redis_url=given.redis_url))

    with pytest.raises(DependencyUnavailable, match="database cannot be reached"):
        await broken.start()

    assert broken.pids() == {}


async def test_a_port_that_is_taken_is_said_before_anything_starts(stack: Stack, make_home: Callable[[], Path]) -> None:
    port = int(stack.api_url.rpartition(":")[2])
    home = make_home()

    with pytest.raises(Conflict, match=f"Port {port} is taken"):
        await Stack(scripted(home, api=ApiSettings(port=port))).start()

    assert not (home / "postgres").exists()


async def test_the_worker_gives_its_jobs_back_when_the_launcher_asks(stack: Stack) -> None:
    """The last test: this stack's worker claims nothing from here on."""
    request = drain_request(stack.settings.home)

    request.touch()

    async def obeyed() -> bool:
        return not request.exists()

    await eventually(obeyed, 20)
    assert "JobWorker" in replicas(stack.pids()["ray"])
