"""Join a cluster as another machine would, and stay until killed: `joining_node.py ADDRESS CPUS PORT PORT PORT`.

`ray start` refuses that on loopback, where the node of these tests listens; Ray's own `cluster_utils` does it this way.
"""

import signal
import sys

from ray._private.node import Node
from ray._private.parameter import RayParams

OBJECT_STORE_BYTES = 100 * 1024**2


def main(address: str, cpus: str, *ports: str) -> None:
    """ports: of the agent, of its metrics and of the environments' agent, for each node of a machine its own."""
    agent, metrics, environments = (int(port) for port in ports)
    parameters = RayParams(
        redis_address=address,
        gcs_address=address,
        node_ip_address=address.partition(":")[0],
        node_manager_port=0,
        min_worker_port=0,
        max_worker_port=0,
        num_cpus=int(cpus),
        object_store_memory=OBJECT_STORE_BYTES,
        include_log_monitor=False,  # type: ignore[arg-type]
        dashboard_agent_listen_port=agent,
        metrics_export_port=metrics,
        runtime_env_agent_port=environments,
    )
    Node(parameters, head=False, shutdown_at_exit=False, spawn_reaper=False)
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
