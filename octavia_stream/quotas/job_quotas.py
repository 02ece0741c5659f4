"""Quotas of jobs, as something that is charged: asked when a job starts, settled when it ends."""

from typing import Any

from octavia_stream.database.pool import Connection
from octavia_stream.jobs.job import Job, seconds_of
from octavia_stream.jobs.versions import spans_under_way
from octavia_stream.quotas.quotas import Quotas

_MEDIA_INFO = "select media_info from upload where id = $1"


class JobQuotas:
    """The `Charges` of jobs in sound instead of credits: by what a file says, then by what was decoded of it."""

    def __init__(self, quotas: Quotas, longest_s: float) -> None:
        """longest_s: seconds of sound that no file may exceed; a file that says nothing is taken for as long."""
        self._quotas = quotas
        self._longest_s = longest_s

    async def submitted(self, connection: Connection, job: Job) -> None:
        spans = await spans_under_way(connection, job.id)
        if spans is not None:
            edited_s = sum(end - start for of_one in spans.values() for start, end in of_one)
            await self._quotas.admit_job(connection, job.owner_id, job.id, edited_s)
            return
        info: dict[str, Any] | None = await connection.fetchval(_MEDIA_INFO, job.upload_id)
        said_s = float((info or {}).get("duration_s") or 0.0)
        whole_s = said_s if said_s > 0 else self._longest_s
        await self._quotas.admit_job(connection, job.owner_id, job.id, seconds_of(job.options, whole_s))

    async def ended(self, connection: Connection, job: Job) -> None:
        """What failed or was cancelled counts for nothing, as it costs nothing."""
        if job.status != "completed":
            await self._quotas.settle_job(connection, job.id, 0.0)
            return
        edited = await spans_under_way(connection, job.id) is not None
        await self._quotas.settle_job(connection, job.id, None if edited else _decoded_s(job))


def _decoded_s(job: Job) -> float | None:
    """Seconds of sound that were decoded, as the report says it."""
    samples, rate_hz = job.report.get("samples"), job.report.get("rate_hz")
    if isinstance(samples, int) and isinstance(rate_hz, int) and rate_hz > 0:
        return samples / rate_hz
    return None
