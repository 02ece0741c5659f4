"""Whole stacks, as a user runs them: one with the real models, one whose engines cost nothing."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import pytest

from octavia_stream.cli.client import Client, local_credentials
from octavia_stream.config import Settings
from octavia_stream.launcher.stack import Stack
from octavia_stream.runtime import Runtime, open_runtime
from octavia_stream.testing import SCRIPT_NAME, Script

DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True, slots=True)
class Running:
    """A stack, a client of it, and its stores seen from beside."""

    stack: Stack
    client: Client
    runtime: Runtime
    home: Path

    @property
    def url(self) -> str:
        return self.stack.api_url

    def replica(self, deployment: str) -> psutil.Process:
        """The process of one replica of a deployment, found among the stack's own descendants."""
        found = [process for process in self.processes() if f":{deployment}" in process.info["title"]]
        assert found, f"no replica of {deployment}"
        return found[0]

    def processes(self) -> list[psutil.Process]:
        """Every process of the stack's Ray node, with its title."""
        descendants = psutil.Process(self.stack.pids()["ray"]).children(recursive=True)
        for process in descendants:
            process.info = {"title": _title(process)}
        return descendants


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@contextmanager
def stack_home() -> Iterator[Path]:
    """A home that the user whom Postgres runs as can reach."""
    home = Path(tempfile.mkdtemp(prefix="octavia-stack-"))
    home.chmod(0o755)
    yield home
    shutil.rmtree(home, ignore_errors=True)


@asynccontextmanager
async def running_stack(home: Path, **overrides: object) -> AsyncIterator[Running]:
    # A machine that runs tests is busy: that must neither refuse a live session nor end one.
    live = {"max_cpu": 0, "resume_s": 120}
    settings = Settings.model_validate(
        {"home": home, "database_url": None, "redis_url": None, "api": {"port": 0}, "live": live, **overrides}
    )
    stack = Stack(settings)
    try:
        url = await stack.start()
        async with Client(url) as client, open_runtime(stack.services_settings) as runtime:
            await client.log_in(local_credentials(home), sign_up=True)
            yield Running(stack, client, runtime, home)
    finally:
        await stack.stop()


@pytest.fixture(scope="session")
async def real_stack() -> AsyncIterator[Running]:
    """The embedded models, as `make demo` runs them."""
    with stack_home() as home:
        async with running_stack(home) as running:
            yield running


@pytest.fixture(scope="module")
async def scripted_stack() -> AsyncIterator[Running]:
    """Real processes everywhere, engines that only pretend to work; slow enough to be killed in the middle."""
    with stack_home() as home:
        script = Script(transcribe_s=0.5, translate_s=0.2, synthesize_s=0.25)
        (home / SCRIPT_NAME).write_bytes(msgspec.json.encode(script))
        worker = {"lease_s": 4.0, "heartbeat_s": 1.0}
        engines = {"engines": "octavia_stream.testing"}
        # All that they hear is one sentence again and again: remembered, it would be no work to kill anything in.
        async with running_stack(home, serve=engines, worker=worker, cache={"limit_bytes": 0}) as running:
            yield running
