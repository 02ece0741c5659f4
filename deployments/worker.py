"""The JobWorker as a Serve deployment: nobody calls it, it claims its work from Postgres."""

import asyncio
import os
import socket
from functools import partial

import structlog
from ray import serve

from deployments import handles
from deployments.capacity import follow_replicas, stage_servers
from deployments.cluster_state import ClusterState
from octavia_stream.config import Settings
from octavia_stream.dubbing.engines import Engines
from octavia_stream.errors import DependencyUnavailable, EngineUnavailable
from octavia_stream.instant.answering import CallServer
from octavia_stream.jobs.every_kind import EveryKind
from octavia_stream.jobs.measured_engines import measured
from octavia_stream.jobs.worker import JobWorker
from octavia_stream.launcher.home import drain_request
from octavia_stream.logs import configure_logs
from octavia_stream.models.registry import Registry
from octavia_stream.runtime import open_runtime
from octavia_stream.scheduling.fair_engines import FairEngines
from octavia_stream.scheduling.share import Share
from octavia_stream.telemetry.metrics import STAGE_QUEUED
from octavia_stream.telemetry.process_card import Presence
from octavia_stream.telemetry.tracing import start_tracing

log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
DRAIN_POLL_S = 0.5
DRAIN_DEADLINE_S = 20.0


class Host:
    """One JobWorker in one replica, from the first health check to the drain."""

    def __init__(self, settings: Settings, asr: handles.Handle, mt: handles.Handle, tts: handles.Handle) -> None:
        configure_logs(settings)
        start_tracing(settings.telemetry, "worker")
        self._settings = settings
        self._servers = stage_servers(settings.serve)
        gates = {stage: servers.gate for stage, servers in self._servers.items()}
        for stage, gate in gates.items():
            STAGE_QUEUED.labels(stage).set_function(partial(getattr, gate, "queued_cost"))
        self._fair = FairEngines(handles.engines(asr, mt, tts, self._servers), gates)
        self._worker: JobWorker | None = None
        self._task: asyncio.Task[None] | None = None
        self._requests: asyncio.Task[None] | None = None
        self._draining = False

    def _engines(self, share: Share) -> Engines:
        return measured(self._fair(share))

    async def check_health(self) -> None:
        """Start the worker when Serve asks first, which it does before it calls the replica ready.

        Raises EngineUnavailable when the worker has ended by itself: the replica should be replaced.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="job worker")
            self._requests = asyncio.create_task(self._obey_drain_requests(), name="drain requests")
        if self._task.done() and not self._draining:
            raise EngineUnavailable("The job worker ended.") from self._task.exception()

    async def pid(self) -> int:
        """The replica's process, for operators and tests."""
        return os.getpid()

    async def drain(self) -> None:
        """Give running jobs back and claim no more; returns when that is done. May be called twice."""
        self._draining = True
        if self._task is None:
            return
        if self._worker is None:
            self._task.cancel()
        else:
            self._worker.drain()
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
                log.warning("the job worker waits", reason=str(error), pause_s=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
            else:
                return

    async def _obey_drain_requests(self) -> None:
        request = drain_request(self._settings.home)
        while True:
            if request.exists():
                await self.drain()
                request.unlink(missing_ok=True)
            await asyncio.sleep(DRAIN_POLL_S)

    async def _serve(self) -> None:
        async with open_runtime(self._settings) as runtime, Presence(runtime.redis, "worker", ClusterState()):
            registry = Registry(self._settings.models, self._settings.home)
            worker_id = f"{socket.gethostname()}/{os.getpid()}"
            self._worker = JobWorker(runtime, EveryKind(runtime, self._engines, registry), worker_id)
            calls = asyncio.create_task(CallServer(runtime, self._engines, registry).run(), name="calls")
            application = serve.get_replica_context().app_name
            following = asyncio.create_task(follow_replicas(self._servers, application), name="replicas")
            try:
                await self._worker.run()
            finally:
                self._worker = None
                calls.cancel()
                following.cancel()
                await asyncio.gather(calls, following, return_exceptions=True)
