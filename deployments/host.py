"""A Serve replica that nobody calls: one task of its own, from the first health check to the drain."""

import asyncio
import os
from abc import ABC, abstractmethod
from pathlib import Path

import structlog

from octavia_stream.config import Settings
from octavia_stream.errors import DependencyUnavailable, EngineUnavailable
from octavia_stream.logs import configure_logs
from octavia_stream.telemetry.tracing import start_tracing

log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
DRAIN_POLL_S = 0.5
DRAIN_DEADLINE_S = 20.0


class Host(ABC):
    """Keeps its task going while what it depends on comes and goes."""

    def __init__(self, settings: Settings, what: str, role: str, drain_request: Path) -> None:
        """what: it is, as sentences call it. role: as traces call it. drain_request: the file that asks it to drain."""
        configure_logs(settings)
        start_tracing(settings.telemetry, role)
        self._settings = settings
        self._what = what
        self._drain_request = drain_request
        self._task: asyncio.Task[None] | None = None
        self._requests: asyncio.Task[None] | None = None
        self._draining = False

    @abstractmethod
    async def _serve(self) -> None:
        """The task. Raises DependencyUnavailable to be begun again after a pause."""

    @abstractmethod
    async def _let_go(self, task: asyncio.Task[None]) -> None:
        """Have the task give back what it holds and end, within `DRAIN_DEADLINE_S`."""

    async def check_health(self) -> None:
        """Start when Serve asks first, which it does before it calls the replica ready.

        Raises EngineUnavailable when the task has ended by itself: the replica should be replaced.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self._what)
            self._requests = asyncio.create_task(self._obey_drain_requests(), name="drain requests")
        if self._task.done() and not self._draining:
            raise EngineUnavailable(f"The {self._what} ended.") from self._task.exception()

    async def pid(self) -> int:
        """The replica's process, for operators and tests."""
        return os.getpid()

    async def drain(self) -> None:
        """Give back what it has and take no more; returns when that is done. May be called twice."""
        self._draining = True
        if self._task is not None:
            await self._let_go(self._task)
            await asyncio.wait({self._task}, timeout=DRAIN_DEADLINE_S)

    async def __del__(self) -> None:
        # Serve awaits this when it stops a replica, within `graceful_shutdown_timeout_s`.
        await self.drain()

    async def _run(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._serve()
            except DependencyUnavailable as error:
                # A database that is away is no reason to die: replicas that restart in a loop heal no sooner.
                log.warning(f"the {self._what} waits", reason=str(error), pause_s=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
            else:
                return

    async def _obey_drain_requests(self) -> None:
        while True:
            if self._drain_request.exists():
                await self.drain()
                self._drain_request.unlink(missing_ok=True)
            await asyncio.sleep(DRAIN_POLL_S)
