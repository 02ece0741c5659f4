"""What a worker in the cluster knows of it: nodes, and the replicas of each deployment by their state."""

import asyncio
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

ASK_TIMEOUT_S = 5.0


async def cluster_state() -> dict[str, Any]:
    """For the worker's card; empty when the cluster does not say in time."""
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            return await asyncio.to_thread(_ask)
    except (TimeoutError, RayError, RayServeException, ConnectionError):
        return {}


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
