"""A server as a child process: started on a leash, stopped for certain, started again when it dies."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from octavia_stream.errors import DependencyUnavailable

STOP_GRACE_S = 10.0
RESTART_PAUSE_S = 0.5
_LEASH = Path(__file__).with_name("leash.py")


@dataclass(frozen=True, slots=True)
class SystemUser:
    """Whom a child runs as."""

    uid: int
    gid: int


class Child:
    """One running process. Made on the main thread's loop: the leash is tied to the thread that starts it."""

    def __init__(self, process: asyncio.subprocess.Process, stop_signal: signal.Signals) -> None:
        self._process = process
        self._stop_signal = stop_signal

    @classmethod
    async def start(
        cls, command: Sequence[str | Path], *, log: Path, stop_signal: signal.Signals, user: SystemUser | None = None
    ) -> "Child":
        """Start a program. Its output goes to `log`, from its beginning; Ctrl-C at the terminal does not reach it."""
        log.parent.mkdir(parents=True, exist_ok=True)
        leash = [os.getpid(), int(stop_signal), user.uid if user else -1, user.gid if user else -1]
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                _LEASH,
                *(str(number) for number in leash),
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
            )
        return cls(process, stop_signal)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def ended(self) -> None:
        """Return when the process has ended."""
        await self._process.wait()

    async def stop(self) -> None:
        """Ask it to stop, then make it. May be called twice."""
        if not self.running:
            return
        descendants = psutil.Process(self.pid).children(recursive=True) if psutil.pid_exists(self.pid) else []
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(self._stop_signal)
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await self._process.wait()
        except TimeoutError:
            for process in descendants:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


class Service(Protocol):
    """A server that can be started, stopped and started again under the same URL."""

    @property
    def url(self) -> str: ...

    async def start(self) -> None:
        """Return when it answers. Raises DependencyUnavailable."""
        ...

    async def ended(self) -> None:
        """Return when its process has ended."""
        ...

    async def stop(self) -> None: ...


@asynccontextmanager
async def kept_running(service: Service) -> AsyncIterator[str]:
    """The service's URL; while in the block it is started again whenever it dies, and afterwards it is stopped."""
    watching: asyncio.Task[None] | None = None
    try:
        await service.start()
        watching = asyncio.create_task(_restart_when_dead(service), name="services: restart")
        yield service.url
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await service.stop()


async def _restart_when_dead(service: Service) -> None:
    while True:
        await service.ended()
        await asyncio.sleep(RESTART_PAUSE_S)
        # A full disk and the like pass by themselves, too.
        with contextlib.suppress(DependencyUnavailable, OSError):
            await service.start()


async def end_leftover(pid_file: Path, sign: str, stop_signal: signal.Signals) -> None:
    """Stop the process a pid file names, if its command line holds `sign`: it outlived its launcher."""
    await asyncio.to_thread(_end_leftover, pid_file, sign, stop_signal)


def _end_leftover(pid_file: Path, sign: str, stop_signal: signal.Signals) -> None:
    try:
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        if sign not in " ".join(process.cmdline()):
            return
        processes = [process, *process.children(recursive=True)]
        process.send_signal(stop_signal)
        process.wait(STOP_GRACE_S)
    except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
        return
    except psutil.TimeoutExpired:
        for one in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(processes, STOP_GRACE_S)
