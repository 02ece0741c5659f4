"""The api as a process that can be killed and started again."""

import asyncio
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from octavia_stream.config import Settings
from octavia_stream.launcher.environment import environment_of
from tests.api.conftest import eventually

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ApiProcess:
    """`python -m api.main` on a port of its own, which it keeps over restarts."""

    def __init__(self, settings: Settings) -> None:
        self.port = free_port()
        api = settings.api.model_copy(update={"port": self.port})
        self._environment: Mapping[str, str] = environment_of(settings.model_copy(update={"api": api}))
        self._process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "api.main", env={**self._environment, "OMP_NUM_THREADS": "1"}, cwd=ROOT,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with httpx.AsyncClient(base_url=self.address) as client:

            async def ready() -> bool:
                assert self.process.returncode is None, "the api ended while it started"
                try:
                    return (await client.get("/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(ready, "the api is ready", 60)

    async def end(self, with_signal: signal.Signals) -> int:
        if self.process.returncode is None:
            self.process.send_signal(with_signal)
        return await self.process.wait()


def wav_header(data_bytes: int) -> bytes:
    """48 kHz, 16 bit, stereo."""
    return (
        b"RIFF" + (36 + data_bytes).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
        + (1).to_bytes(2, "little") + (2).to_bytes(2, "little") + (48_000).to_bytes(4, "little")
        + (192_000).to_bytes(4, "little") + (4).to_bytes(2, "little") + (16).to_bytes(2, "little")
        + b"data" + data_bytes.to_bytes(4, "little")
    )  # fmt: skip
