"""The live node as a Serve deployment: nobody calls it, the api finds its private endpoint in the registry.

It is an application of its own: a live node that cannot start leaves the batch system as it is.
"""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from uuid import UUID, uuid4

from ray import serve

from deployments import handles
from deployments.capacity import LIVE_CALLS, StageServers, follow_replicas, stage_servers
from deployments.host import DRAIN_DEADLINE_S, Host
from octavia_stream.config import Settings
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.dubbing.engines import Engines
from octavia_stream.jobs.job_models import JobModels
from octavia_stream.launcher.home import live_drain_request
from octavia_stream.live.options import LiveOptions
from octavia_stream.live.room import LiveRoom
from octavia_stream.live.state import RoomState
from octavia_stream.live.voices import CatalogueVoices
from octavia_stream.models.registry import Registry
from octavia_stream.runtime import load_secret, open_runtime
from octavia_stream.scheduling.fair_engines import FairEngines
from octavia_stream.scheduling.share import Priority, Share
from octavia_stream.sessions.endpoint import NodeEndpoint
from octavia_stream.sessions.recorder import Recorder
from octavia_stream.sessions.supervisor import Supervisor

ANY_HOST = ("0.0.0.0", "::")  # noqa: S104  (compared with, not bound to)


class LiveNode(Host):
    """One Supervisor in one replica."""

    def __init__(self, settings: Settings, engines_of: str) -> None:
        """engines_of: the Serve application that has the model servers."""
        super().__init__(settings, "live node", "live", live_drain_request(settings.home))
        self._application = engines_of
        self._supervisor: Supervisor | None = None

    async def _let_go(self, task: asyncio.Task[None]) -> None:
        """No more sessions are taken, and those that are here go to other nodes."""
        if self._supervisor is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_DEADLINE_S):
                    await self._supervisor.drain()
        task.cancel()

    async def _serve(self) -> None:
        settings = self._settings
        servers = stage_servers(settings.serve, calls=LIVE_CALLS)
        async with open_runtime(settings) as runtime:
            make = RoomMaker(settings, self._fair(servers))
            supervisor = Supervisor(
                settings.live,
                make.room,
                runtime.live,
                runtime.live_nodes,
                recorder_for=partial(Recorder, objects=runtime.objects),
            )
            async with NodeEndpoint(supervisor, load_secret(settings), settings.live.node_host) as endpoint:
                self._supervisor = supervisor
                following = asyncio.create_task(follow_replicas(servers, self._application), name="replicas")
                try:
                    await supervisor.run(endpoint.node(f"{socket.gethostname()}/{uuid4().hex[:12]}", self._reachable()))
                finally:
                    self._supervisor = None
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)

    def _fair(self, servers: Mapping[Stage, StageServers]) -> FairEngines:
        asr, mt, tts = (serve.get_deployment_handle(name, self._application) for name in ("Asr", "Mt", "Tts"))
        gates = {stage: server.gate for stage, server in servers.items()}
        return FairEngines(handles.engines(asr, mt, tts, servers, live=True), gates)

    def _reachable(self) -> str | None:
        if self._settings.live.node_host not in ANY_HOST:
            return None
        return socket.gethostbyname(socket.gethostname())


class RoomMaker:
    """Rooms over the model servers and the installed voices."""

    def __init__(self, settings: Settings, engines: FairEngines) -> None:
        registry = Registry(settings.models, settings.home)
        self._engines = engines
        self._models = JobModels(settings, registry)
        self._voices = CatalogueVoices(registry)

    def room(self, owner_id: UUID, options: LiveOptions, state: RoomState | None) -> LiveRoom:
        """As `RoomFor`."""
        engines: Engines = self._engines(Share(owner_id, priority=Priority.LIVE))
        return LiveRoom(options, engines, self._models.detector, self._voices, state)
