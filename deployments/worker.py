"""The JobWorker as a Serve deployment: nobody calls it, it claims its work from Postgres."""

import asyncio
import os
import socket
from functools import partial

from ray import serve

from deployments import handles
from deployments.capacity import follow_replicas, shared_cores, stage_servers
from deployments.cluster_state import ClusterState
from deployments.host import Host
from octavia_stream.config import Settings
from octavia_stream.dubbing.engines import Engines
from octavia_stream.instant.answering import CallServer
from octavia_stream.jobs.every_kind import EveryKind
from octavia_stream.jobs.measured_engines import measured
from octavia_stream.jobs.worker import JobWorker
from octavia_stream.launcher.home import drain_request
from octavia_stream.models.registry import Registry
from octavia_stream.runtime import open_runtime
from octavia_stream.scheduling.fair_engines import FairEngines
from octavia_stream.scheduling.share import Share
from octavia_stream.telemetry.metrics import STAGE_QUEUED
from octavia_stream.telemetry.process_card import Presence


class Worker(Host):
    """One JobWorker in one replica."""

    def __init__(self, settings: Settings, asr: handles.Handle, mt: handles.Handle, tts: handles.Handle) -> None:
        super().__init__(settings, "job worker", "worker", drain_request(settings.home))
        self._servers = stage_servers(settings.serve)
        gates = {stage: servers.gate for stage, servers in self._servers.items()}
        for stage, gate in gates.items():
            STAGE_QUEUED.labels(stage).set_function(partial(getattr, gate, "queued_cost"))
        cores = shared_cores(settings.models, settings.serve)
        self._fair = FairEngines(handles.engines(asr, mt, tts, self._servers), gates, cores)
        self._worker: JobWorker | None = None

    def _engines(self, share: Share) -> Engines:
        return measured(self._fair(share))

    async def _let_go(self, task: asyncio.Task[None]) -> None:
        """Running jobs are given back, and none is claimed."""
        if self._worker is None:
            task.cancel()
        else:
            self._worker.drain()

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
