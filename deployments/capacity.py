"""What a job worker knows of each stage's replicas: how many take calls now, and the gate before them."""

import asyncio
import os
import socket
from collections.abc import Mapping

import structlog
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ServeStatus

from deployments.backlog import Backlog
from octavia_stream.config import ModelSettings, ReplicaSettings, ServeSettings
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.scheduling.gate import Gate

log = structlog.get_logger(__name__)

LOOK_S = 1.0
LIVE_CALLS = 2
"""Calls of live sessions that a replica takes at once beside those of jobs, and answers before them."""
RUNNING = "RUNNING"


class StageServers:
    """One stage's deployment, as one worker sees it."""

    def __init__(self, deployment: str, replicas: ReplicaSettings, calls: int | None = None) -> None:
        """calls: that each replica takes of us at once; None: as many as it takes of job workers."""
        self.deployment = deployment
        self.replicas = replicas
        self._calls = calls or replicas.max_ongoing_requests
        self.running = max(replicas.min_replicas, 1)
        """Replicas that take calls."""
        self.gate = Gate(self._slots())

    @property
    def scales(self) -> bool:
        return self.replicas.min_replicas < self.replicas.max_replicas

    def see(self, running: int) -> None:
        """So many replicas take calls now."""
        self.running = running
        self.gate.slots = self._slots()

    def backlog(self) -> Backlog:
        """What this worker has waiting now."""
        return Backlog(f"{socket.gethostname()}/{os.getpid()}", self.gate.queued_cost)

    def _slots(self) -> int:
        # With no replica there are some to knock with: that is what starts the first.
        return max(self.running, 1) * self._calls


def stage_servers(settings: ServeSettings, calls: int | None = None) -> dict[Stage, StageServers]:
    """Which deployment serves which stage. calls: as `StageServers` takes it."""
    return {
        "transcribe": StageServers("Asr", settings.asr, calls),
        "translate": StageServers("Mt", settings.mt, calls),
        "synthesize": StageServers("Tts", settings.tts, calls),
    }


def shared_cores(models: ModelSettings, settings: ServeSettings) -> int | None:
    """On how many cores speech is recognised and made in turns; None where each has its own.

    Where replicas are fixed and on CPUs, they speak as many sentences at once as there are cores for it.
    """
    speaking = settings.tts
    if models.device != "cpu" or speaking.min_replicas < speaking.max_replicas:
        return None
    return max(speaking.min_replicas, 1) * speaking.concurrent_calls


async def follow_replicas(servers: Mapping[Stage, StageServers], application: str) -> None:
    """Let through what the replicas take that run now, until cancelled; returns at once when their number is fixed."""
    scaling = [stage for stage in servers.values() if stage.scales]
    while scaling:
        try:
            status = await asyncio.to_thread(serve.status)
        except (RayError, RayServeException) as error:
            # The controller restarts; until it is back the numbers stay.
            log.warning("replicas_unknown", reason=str(error))
        else:
            for stage in scaling:
                stage.see(running_replicas(status, application, stage.deployment))
        await asyncio.sleep(LOOK_S)


def running_replicas(status: ServeStatus, application: str, deployment: str) -> int:
    """How many replicas of a deployment take calls."""
    found = status.applications.get(application)
    if found is None or deployment not in found.deployments:
        return 0
    states = found.deployments[deployment].replica_states
    return sum(count for state, count in states.items() if state == RUNNING)
