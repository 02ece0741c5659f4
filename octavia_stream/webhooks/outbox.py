"""The outbox: what is to be told is written in the transaction in which it happens, so both happen, or neither."""

from collections.abc import Sequence
from uuid import UUID

from octavia_stream.database.pool import Connection
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.events.event import Cancelled, Completed, Failed, JobEventRecord, QualityWarned, Started
from octavia_stream.webhooks import queries
from octavia_stream.webhooks.endpoint import JobHookType

_TYPES: dict[type, JobHookType] = {
    Started: "job.started",
    QualityWarned: "job.quality",
    Completed: "job.completed",
    Failed: "job.failed",
    Cancelled: "job.cancelled",
}


async def add_job_messages(connection: Connection, job_id: UUID, records: Sequence[JobEventRecord]) -> None:
    """Put what somebody wants to know of these events into the outbox. The job's row says already what they say."""
    for record in records:
        hook = _TYPES.get(type(record.event))
        if hook is not None:
            await connection.execute(queries.ADD_JOB_MESSAGE, job_id, uuid7(), hook, record.at, record.seq)
