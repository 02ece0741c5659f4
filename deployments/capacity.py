"""How many calls the replicas of a stage take at once, and the gate before them that knows it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ServeStatus

from octavia_stream.config import ReplicaSettings, ServeSettings
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.scheduling.gate import Gate

log = structlog.get_logger(__name__)

LOOK_S = 1.0
RUNNING = "RUNNING"


@dataclass(frozen=True, slots=True)
class StageServers:
    """One stage's deployment."""

    deployment: str
    replicas: ReplicaSettings

    def slots(self, running: int) -> int:
        """Calls to send at once. With no replica there is one to knock with: that is what starts the first."""
        return max(running, 1) * self.replicas.max_ongoing_requests

    @property
    def gate(self) -> Gate:
        """A new one, for as many replicas as there are at first."""
        return Gate(self.slots(self.replicas.min_replicas))

    @property
    def scales(self) -> bool:
        return self.replicas.min_replicas < self.replicas.max_replicas


def stage_servers(settings: ServeSettings) -> dict[Stage, StageServers]:
    """Which deployment serves which stage."""
    return {
        "transcribe": StageServers("Asr", settings.asr),
        "translate": StageServers("Mt", settings.mt),
        "synthesize": StageServers("Tts", settings.tts),
    }


async def follow_replicas(gates: Mapping[Stage, Gate], servers: Mapping[Stage, StageServers], application: str) -> None:
    """Let through what the replicas take that run now, until cancelled; returns at once when their number is fixed."""
    scaling = {stage: server for stage, server in servers.items() if server.scales}
    while scaling:
        try:
            status = await asyncio.to_thread(serve.status)
        except (RayError, RayServeException) as error:
            # The controller restarts; until it is back the numbers stay.
            log.warning("replicas_unknown", reason=str(error))
        else:
            for stage, server in scaling.items():
                gates[stage].slots = server.slots(running_replicas(status, application, server.deployment))
        await asyncio.sleep(LOOK_S)


def running_replicas(status: ServeStatus, application: str, deployment: str) -> int:
    """How many replicas of a deployment take calls."""
    found = status.applications.get(application)
    if found is None or deployment not in found.deployments:
        return 0
    states = found.deployments[deployment].replica_states
    return sum(count for state, count in states.items() if state == RUNNING)
