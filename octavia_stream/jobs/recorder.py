"""Events of a running job on their way to the store: gathered, thinned, and sent without making the work wait."""

import asyncio

import structlog

from octavia_stream.errors import DependencyUnavailable
from octavia_stream.events.event import JobEvent, Progress
from octavia_stream.jobs.job import Claim
from octavia_stream.jobs.store import JobStore
from octavia_stream.telemetry.metrics import EVENTS_DROPPED

FLUSH_INTERVAL_S = 0.25

log = structlog.get_logger()


class EventRecorder:
    """Appends a job's events in batches. Of progress only the newest is kept: it replaces the one before."""

    def __init__(self, store: JobStore, claim: Claim) -> None:
        self._store = store
        self._claim = claim
        self._waiting: list[JobEvent] = []

    def emit(self, event: JobEvent) -> None:
        """Take an event and return at once."""
        if isinstance(event, Progress):
            before = len(self._waiting)
            self._waiting = [other for other in self._waiting if not isinstance(other, Progress)]
            EVENTS_DROPPED.labels("recorder").inc(before - len(self._waiting))
        self._waiting.append(event)

    async def run(self) -> None:
        """Send what gathers until cancelled. Raises LeaseLost; while Postgres is away, events wait."""
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            try:
                await self.flush()
            except DependencyUnavailable as error:
                log.warning("events_wait", job_id=str(self._claim.job.id), reason=str(error))

    async def flush(self) -> None:
        """Send everything now. Raises LeaseLost, DependencyUnavailable (nothing is lost then)."""
        events, self._waiting = self._waiting, []
        if not events:
            return
        try:
            await self._store.append(self._claim, events)
        except BaseException:
            self._waiting = events + self._waiting
            raise
