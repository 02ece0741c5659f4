"""How this machine's Ray node is started; the measurements behind the numbers are in docs/ (two cores, Ray 2.60)."""

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from octavia_stream.config import LiveSettings, ReplicaSettings, ServeSettings
from octavia_stream.launcher import keeper as keeper_script
from octavia_stream.launcher.ports import LOOPBACK, free_ports

OBJECT_STORE_BYTES = 200 * 1024**2
"""Values that travel by handle are a few MB at most; Ray's own default is 30 % of the memory."""

HEAP = {
    # Recognising a chunk takes and frees buffers of tens of MB again and again: with huge pages the kernel has a
    # quarter of the work, and a chunk takes a fifth less (`benchmarks/heap.py`).
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    # One arena for each thread falls to pieces: over two hours of media a job worker grew by 31 MB, with one by 14.
    "MALLOC_ARENA_MAX": "1",
}
"""How the C library keeps the memory of replicas. Read when a process starts, and passed over by other libraries."""


def ray_environment(base: Mapping[str, str], token: Path, threads: int) -> dict[str, str]:
    """What every process on the cluster needs, and whoever connects to it: one value for all of them."""
    autoscaler_metrics, dashboard_metrics = free_ports(2)
    return {**HEAP, **base} | {
        # `ray start` leaves authentication off: every local user could run code in the cluster.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        # At Ray's own niceness of 15 replicas starve beside the api: 149 requests/s where 0 gives 271.
        "RAY_worker_niceness": "0",
        # A call through a handle costs 1.7 ms of CPU in place of 6.9.
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # Which would also open an HTTP port in the replica that is nobody's ingress.
        "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
        # Otherwise Serve swallows what a replica writes to standard error, the JobWorker's log lines among it.
        "RAY_SERVE_LOG_TO_STDERR": "1",
        # Ray's only switch for a node whose address is 127.0.0.1, and which therefore listens there alone;
        # the name tells where it is the default.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # What Ray does for itself all the time, at Serve's own pace, took 6 % of two cores.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "2000",
        "RAY_enable_metrics_collection": "false",
        "RAY_task_events_report_interval_ms": "0",
        # So do the raylet's clocks, most of which tick ten times a second: it is woken half as often with these.
        "RAY_raylet_report_resources_period_milliseconds": "500",
        "RAY_raylet_check_gc_period_milliseconds": "1000",
        "RAY_memory_monitor_refresh_ms": "1000",
        "RAY_object_manager_timer_freq_ms": "1000",
        "RAY_local_fs_monitor_interval_ms": "1000",
        "RAY_kill_idle_workers_interval_ms": "1000",
        # These two have no option, and one fixed default for all nodes of a machine.
        "AUTOSCALER_METRIC_PORT": str(autoscaler_metrics),
        "DASHBOARD_METRIC_PORT": str(dashboard_metrics),
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
    }


def ray_arguments(directory: Path, port: int, cpus: int) -> list[str]:
    """The command of a head node on loopback; end it with SIGTERM or a sweep of its session."""
    agent, agent_rpc, metrics, environments, client = free_ports(5)
    options = {
        "node-ip-address": LOOPBACK,
        "port": port,
        "num-cpus": cpus,
        "object-store-memory": OBJECT_STORE_BYTES,
        "temp-dir": directory,
        "include-dashboard": "false",
        "include-log-monitor": "false",
        "dashboard-agent-listen-port": agent,
        "dashboard-agent-grpc-port": agent_rpc,
        "metrics-export-port": metrics,
        "runtime-env-agent-port": environments,
        "ray-client-server-port": client,
    }
    keeper = [sys.executable, "-I", "-S", keeper_script.__file__]
    head = [*keeper, sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    # Nobody scales this one node.
    return [*head, "--no-monitor", *(f"--{name}={value}" for name, value in options.items())]


def cpus_needed(serve: ServeSettings, live: LiveSettings) -> int:
    """Ray counts CPUs, it does not grant them: never fewer than the smallest set of replicas asks for."""
    stages: tuple[ReplicaSettings, ...] = (serve.asr, serve.mt, serve.tts, serve.worker)
    least = sum(stage.num_cpus * max(stage.min_replicas, 1) for stage in stages)
    least += live.num_cpus if live.enabled else 0.0
    return max(os.cpu_count() or 1, math.ceil(least - 1e-9))
