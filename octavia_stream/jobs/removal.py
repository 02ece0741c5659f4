"""What goes with a job: its objects. Rows go first, so that nothing ever names what is gone."""

import re
from collections.abc import Sequence
from uuid import UUID

from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.jobs.job import Artifact, Claim
from octavia_stream.jobs.postgres import PostgresJobStore
from octavia_stream.jobs.store import JobStore
from octavia_stream.storage.objects import ObjectStore

_EPOCH_OF = re.compile(r"jobs/[^/]+/(?:chunks/.*-(?P<chunk>\d+)|results/(?P<result>\d+)/.*)")


async def remove_job(jobs: PostgresJobStore, objects: ObjectStore, job_id: UUID, owner_id: UUID) -> None:
    """Forget a job and remove all that it made. Raises NotFound, and Conflict while it runs.

    Whoever is interrupted in between leaves objects that belong to nothing; `octavia audit --repair` removes those.
    """
    await jobs.delete(job_id, owner_id)
    crash_point(CrashPoint.JOB_FORGOTTEN)
    await objects.delete_prefix(f"jobs/{job_id}")


async def remove_leftovers(jobs: JobStore, objects: ObjectStore, claim: Claim, artifacts: Sequence[Artifact]) -> int:
    """Remove what workers made for a job and never recorded, because they died or stopped in between.

    artifacts: what the job is about to end with. To be called by the worker that holds the job, with nothing else of
    it under way: objects of its own and of earlier epochs are final, and later ones are left alone.
    Returns how many there were.
    """
    kept = await jobs.kept_keys(claim.job.id) | {artifact.key for artifact in artifacts}
    count = 0
    async for listed in objects.list(f"jobs/{claim.job.id}"):
        found = _EPOCH_OF.fullmatch(listed.key)
        if found is not None and listed.key not in kept and int(found["chunk"] or found["result"]) <= claim.epoch:
            await objects.delete(listed.key)
            count += 1
    return count
