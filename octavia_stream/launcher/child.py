"""A process of the stack: its own group, its own log, and it never outlives the launcher."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import psutil

from octavia_stream.services import leash as leash_script

KILL_DEADLINE_S = 5.0
TAIL_BYTES = 16_384


class Child:
    """One running process. Start it from the main thread: its life hangs on the thread that forks it."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(cls, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> "Child":
        """Run a Python module or program; its output goes to `log`, whose former content moves to `log`.1."""
        with _fresh(log) as output:
            process = await asyncio.create_subprocess_exec(
                *leash(signal.SIGKILL),
                *arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                # A session of its own: Ctrl-C in the terminal reaches the launcher alone, which then goes in order.
                start_new_session=True,
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Its exit code, when it has ended."""
        return await self._process.wait()

    async def stop(self, grace_s: float) -> None:
        """Ask it to end; after `grace_s`, and for whatever it leaves behind, insist. May be called twice.

        grace_s: 0 kills at once, which is all that Ray needs: nothing in it is worth saving.
        """
        family = self._family()
        if self.exit_code is None and grace_s > 0:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), grace_s)
        if self.exit_code is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        await asyncio.wait_for(self._process.wait(), KILL_DEADLINE_S)
        await asyncio.to_thread(psutil.wait_procs, family, KILL_DEADLINE_S)

    def last_words(self, lines: int = 20) -> list[str]:
        """The end of its log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
                return file.read().decode(errors="replace").splitlines()[-lines:]
        except OSError:
            return []

    def _family(self) -> list[psutil.Process]:
        """What it started, at any depth. A process is known by pid and start time, so a reused pid is safe."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


def _fresh(log: Path) -> BinaryIO:
    with suppress(FileNotFoundError):
        log.replace(log.with_name(log.name + ".1"))
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("wb")


def leash(death_signal: signal.Signals) -> list[str]:
    """What to put before an absolute command that must not outlive this process."""
    return [sys.executable, "-I", "-S", leash_script.__file__, str(os.getpid()), str(int(death_signal)), "-1", "-1"]
