"""Carrying a plan out: signals to processes, a full disk, damaged objects."""

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from octavia_stream.errors import DependencyUnavailable
from tests.chaos.books import Books
from tests.chaos.disk import fill
from tests.chaos.plan import Fault, Harm, Plan
from tests.chaos.server import Server
from tests.chaos.victims import wait_for

APPEARS_S = 6.0
"""How long a part that is not there is waited for."""
DEPLOY_APPEARS_S = 15.0


@dataclass(slots=True)
class Trouble:
    """Makes it, and remembers what it did."""

    server: Server
    books: Books
    damaged: dict[str, bytes | None] = field(default_factory=dict)
    """Objects by key, and what they held."""
    told: list[str] = field(default_factory=list)
    """What really happened."""

    async def make(self, plan: Plan) -> None:
        """Every fault at its time; some last, and overlap."""
        async with asyncio.TaskGroup() as group:
            for fault in plan.faults:
                group.create_task(self._in_time(fault))

    async def _in_time(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at_s)
        match fault.act:
            case "kill":
                await self._kill(fault.part)
            case "stop":
                await self._stop(fault.part, fault.for_s)
            case "fill":
                await self._fill(fault.for_s)
            case "damage":
                await self._damage(fault.harm)

    async def _kill(self, part: str) -> None:
        if part == "deploy" and not await asyncio.to_thread(wait_for, part, 0.1):
            # It lives only while the application is being put on a cluster.
            await self._kill("raylet")
        await self._signal(part, signal.SIGKILL, DEPLOY_APPEARS_S if part == "deploy" else APPEARS_S)

    async def _stop(self, part: str, seconds: float) -> None:
        victim = await self._signal(part, signal.SIGSTOP, APPEARS_S)
        await asyncio.sleep(seconds)
        if victim is not None:
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGCONT)

    async def _signal(self, part: str, number: signal.Signals, seconds: float) -> psutil.Process | None:
        victim = await asyncio.to_thread(wait_for, part, seconds)
        told = f"{number.name} {part}"
        try:
            if victim is not None:
                victim.send_signal(number)
        except psutil.NoSuchProcess:
            victim = None
        self.told.append(told if victim is not None else f"{told}: nobody was there")
        return victim

    async def _fill(self, seconds: float) -> None:
        ballast = await asyncio.to_thread(fill, self.server.home)
        self.told.append(f"disk full for {seconds:.1f} s")
        try:
            await asyncio.sleep(seconds)
        finally:
            ballast.unlink()

    async def _damage(self, harm: Harm) -> None:
        """A checkpoint, and then the worker: who goes on must notice."""
        with suppress(DependencyUnavailable):
            key = await self.books.checkpoint_of_a_running_job()
            if key is not None:
                self._spoil(key, harm)
        await self._kill("worker")

    def _spoil(self, key: str, harm: Harm) -> None:
        path = self.server.home / "objects" / key
        try:
            content = path.read_bytes()
            spoiled = content[: len(content) // 2]
            if harm == "flip":
                spoiled += bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]
            if harm == "remove":
                path.unlink()
            else:
                self._replace(key, spoiled)
        except OSError as error:
            self.told.append(f"{harm} {key}: {error.strerror}")
        else:
            self.damaged[key] = content
            self.told.append(f"{harm} {key}")

    def restore(self, keys: set[str]) -> int:
        """Put back what nobody had to read again, for that stays as it was spoiled; returns how much that was."""
        unread = {key: content for key, content in self.damaged.items() if key in keys and content is not None}
        for key, content in unread.items():
            self._replace(key, content)
        return len(unread)

    def _replace(self, key: str, content: bytes) -> None:
        path = self.server.home / "objects" / key
        draft = path.with_name(path.name + ".chaos")
        draft.write_bytes(content)
        draft.replace(path)
