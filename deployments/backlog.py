"""Backlog: what job workers have waiting, on its way to whoever decides on the number of replicas.

Serve asks replicas for what they know, and what waits lies with the callers: so each call says what waits behind it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from octavia_stream.scheduling.scaling import queued_in_all, servers_wanted

FRESH_S = 10.0
"""A worker that made no call for so long has nothing waiting, or is gone."""
FORGOTTEN_S = 600.0
"""Until then it is said of such a worker that nothing waits: what is left out stays as it was for Serve."""
METRIC = "queued_s:"


@dataclass(frozen=True, slots=True)
class Backlog:
    """What one worker had waiting for a stage when it made a call."""

    worker: str
    queued_s: float
    """Seconds of sound."""


class HeardBacklogs:
    """What one replica was told last by every worker."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: dict[str, tuple[float, float]] = {}

    def hear(self, backlog: Backlog | None) -> None:
        if backlog is not None:
            self._heard[backlog.worker] = (self._clock(), backlog.queued_s)

    def stats(self) -> dict[str, float]:
        """As Serve's `record_autoscaling_stats`: one value for each worker."""
        now = self._clock()
        self._heard = {worker: heard for worker, heard in self._heard.items() if now - heard[0] < FORGOTTEN_S}
        return {
            METRIC + worker: queued_s if now - at < FRESH_S else 0.0 for worker, (at, queued_s) in self._heard.items()
        }


class QueuedSoundPolicy:
    """Serve's autoscaling policy: replicas by seconds of sound that wait. Bounds, delays and waking are Serve's."""

    def __init__(self, queued_s_per_replica: float, max_ongoing_requests: int) -> None:
        self._queued_s_per_replica = queued_s_per_replica
        self._max_ongoing_requests = max_ongoing_requests

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """context: `ray.serve.config.AutoscalingContext`, whose metrics are by name and replica."""
        told: Mapping[str, Mapping[object, float]] = context.aggregated_metrics or {}
        queued_s = queued_in_all({name: by.values() for name, by in told.items() if name.startswith(METRIC)})
        wanted = servers_wanted(
            queued_s=queued_s,
            ongoing=context.total_num_requests,
            queued_s_per_server=self._queued_s_per_replica,
            calls_per_server=self._max_ongoing_requests,
        )
        return wanted, {}
