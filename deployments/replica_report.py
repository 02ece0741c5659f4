"""What a replica tells operators: log lines with the ids of whoever called, metrics, spans, and that it is there."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from octavia_stream.config import Settings
from octavia_stream.errors import OctaviaError
from octavia_stream.events.redis import RedisEvents
from octavia_stream.logs import configure_logs
from octavia_stream.telemetry.context import Carried, taken_up
from octavia_stream.telemetry.process_card import Presence, Role
from octavia_stream.telemetry.tracing import start_tracing

log = structlog.get_logger(__name__)


class ReplicaReport:
    """One replica of a model server."""

    def __init__(self, role: Role, settings: Settings | None) -> None:
        """settings: None tells nobody anything."""
        self._role = role
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        if settings is not None:
            configure_logs(settings)
            start_tracing(settings.telemetry, role)

    def start(self) -> None:
        """Called from the replica's loop; again does nothing."""
        if self._task is None and self._settings is not None and self._settings.redis_url is not None:
            url = self._settings.redis_url.get_secret_value()
            self._task = asyncio.create_task(self._keep_up(url), name="replica report")

    @contextmanager
    def call(self, brought: Carried) -> Iterator[None]:
        """Around one call: one line in the log when it is over, under the ids of the job and its requests."""
        started = time.monotonic()
        outcome = "gone"
        with taken_up(brought, self._role):
            try:
                yield
                outcome = "ok"
            except OctaviaError as error:
                outcome = error.code
                raise
            finally:
                if self._settings is not None:
                    log.info("engine_call", role=self._role, outcome=outcome, seconds=_since(started))

    async def _keep_up(self, redis_url: str) -> None:
        async with RedisEvents(redis_url) as redis, Presence(redis, self._role):
            await asyncio.Event().wait()


def _since(started: float) -> float:
    return round(time.monotonic() - started, 4)
