"""Letters about jobs that ended, for those who want them: written in the transaction that ends the job."""

from typing import Protocol

from octavia_stream.database.pool import Connection
from octavia_stream.jobs.job import Job
from octavia_stream.mail import outbox

_WANTED = """
select upload.filename from account_settings wish, upload
where wish.account_id = $1 and upload.id = $2
    and case $3 when 'completed' then wish.notify_completed when 'failed' then wish.notify_failed else false end
"""


class Notices(Protocol):
    """Tells people that a job ended. The job's row is locked by whoever asks."""

    async def ended(self, connection: Connection, job: Job) -> None:
        """The job has just ended; its status says how."""
        ...


class Silence:
    """Nobody is told anything."""

    async def ended(self, connection: Connection, job: Job) -> None:
        pass


class Letters:
    """Tells by letter whoever asked for the job, as their settings say. It waits for no mail server."""

    def __init__(self, public_url: str | None) -> None:
        """public_url: where users reach this server."""
        self._public_url = public_url

    async def ended(self, connection: Connection, job: Job) -> None:
        if job.created_by is None:
            return
        filename = await connection.fetchval(_WANTED, job.created_by, job.upload_id, job.status)
        if filename is None:
            return
        done = job.status == "completed"
        subject = f"Done: {filename}" if done else f"Failed: {filename}"
        happened = "Your job is done." if done else f"Your job failed: {job.error_message}"
        where = f"{self._public_url.rstrip('/')}/api/v1/jobs/{job.id}" if self._public_url else f"Job {job.id}"
        text = f"{happened}\n\n{job.kind} of {filename}\n{where}\n\nYour settings say which letters you get.\n"
        # Each run of a job ends under an epoch of its own.
        await outbox.put(connection, job.created_by, key=f"job/{job.id}/{job.epoch}", subject=subject, text=text)
