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

from octavia_stream.launcher.keeper import sweep
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
    async def start(
        cls,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> "Child":
        """Run a program, named by its absolute path.

        log: where its output goes; the former content moves to `log`.1. death_signal: what the kernel sends it
        when this process dies.
        """
        with _fresh(log) as output:
            process = await asyncio.create_subprocess_exec(
                *leash(os.getpid(), death_signal),
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

        grace_s: 0 kills at once.
        """
        if self.exit_code is None and grace_s > 0:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._process.wait()
        # The session is its own, and keeps its number for as long as anybody is in it.
        await asyncio.to_thread(sweep, self.pid)
        async with asyncio.timeout(KILL_DEADLINE_S):
            await self._process.wait()

    def last_words(self, lines: int = 20) -> list[str]:
        """The end of its log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
                return file.read().decode(errors="replace").splitlines()[-lines:]
        except OSError:
            return []


def _fresh(log: Path) -> BinaryIO:
    with suppress(FileNotFoundError):
        log.replace(log.with_name(log.name + ".1"))
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("wb")


def leash(parent: int, death_signal: signal.Signals) -> list[str]:
    """What to put before an absolute command that must not outlive its parent."""
    return [sys.executable, "-I", "-S", leash_script.__file__, str(parent), str(int(death_signal)), "-1", "-1"]
