"""What a worker in the cluster knows of it: nodes, and the replicas of each deployment by their state."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

ASK_TIMEOUT_S = 5.0
HEALTHY = "HEALTHY"
GOOD_FOR_S = 18.0
"""While all is well: as a card is written every five seconds, every fourth asks."""


class ClusterState:
    """For the worker's card, which is written anew more often than the cluster is worth asking: the answer to that
    costs a hundredth of a core at the card's pace."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, Any] = {}
        self._good_until = -math.inf

    async def __call__(self) -> dict[str, Any]:
        """Empty when the cluster does not say in time; then it is asked again the next time."""
        if self._clock() < self._good_until:
            return self._known
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                self._known = await asyncio.to_thread(_ask)
        except (TimeoutError, RayError, RayServeException, ConnectionError):
            return {}
        if all(one["status"] == HEALTHY for one in self._known["deployments"].values()):
            self._good_until = self._clock() + GOOD_FOR_S
        return self._known


def _ask() -> dict[str, Any]:
    applications = serve.status().applications.values()
    return {
        "nodes": [
            {"id": node["NodeID"][:12], "alive": node["Alive"], "resources": _resources(node["Resources"])}
            for node in ray.nodes()  # type: ignore[no-untyped-call]
        ],
        "deployments": {
            name: {
                "status": str(deployment.status.value),
                "replicas": {str(state): count for state, count in deployment.replica_states.items() if count},
            }
            for application in applications
            for name, deployment in application.deployments.items()
        },
    }


def _resources(resources: dict[str, float]) -> dict[str, float]:
    """Those that say how large a node is; the others name it."""
    return {name: amount for name, amount in resources.items() if name in ("CPU", "GPU", "memory")}
