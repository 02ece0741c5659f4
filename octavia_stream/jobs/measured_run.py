"""One run of a job in a worker, in the metrics."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from octavia_stream.dubbing.progress import Emit
from octavia_stream.events.event import Analysed, JobEvent
from octavia_stream.jobs.job import Claim
from octavia_stream.telemetry import metrics
from octavia_stream.telemetry.tracing import Attributes, span


@contextmanager
def measured_run(claim: Claim) -> Iterator[Emit]:
    """Around the work on a claimed job; yields what wants to be told its events, for they say how long the media is."""
    kind, job = claim.job.kind, claim.job
    media_s = 0.0

    def told(event: JobEvent) -> None:
        nonlocal media_s
        if isinstance(event, Analysed):
            media_s = event.duration_s

    # A job that is run again was started before it was submitted the last time.
    if claim.attempt == 1 and job.submitted_at and job.started_at and job.started_at >= job.submitted_at:
        metrics.JOB_WAIT.labels(kind).observe((job.started_at - job.submitted_at).total_seconds())
    started = time.monotonic()
    attributes: Attributes = {"job.id": str(job.id), "job.kind": kind, "job.attempt": claim.attempt}
    with (
        metrics.WORKER_JOBS.track_inprogress(),
        span("job", parent=claim.origin.traceparent, side="asked", attributes=attributes),
    ):
        yield told
    # Whoever raised did not get through with it.
    worked_s = time.monotonic() - started
    metrics.JOB_WORK.labels(kind).observe(worked_s)
    if media_s > 0 and claim.attempt == 1:
        metrics.JOB_REAL_TIME.labels(kind).observe(worked_s / media_s)
