"""How good the result of a job is."""

from litestar import get

from api.errors import problems
from api.identity import for_keys
from api.services import JobId, OwnerId, TheServices
from octavia_stream.jobs.quality import QualityReport


@get(
    "/{job_id:uuid}/quality",
    operation_id="getJobQuality",
    summary="How good a dub is",
    opt=for_keys("jobs:read"),
    responses=problems(401, 404),
)
async def get_job_quality(job_id: JobId, owner_id: OwnerId, services: TheServices) -> QualityReport:
    """Measured while it was made, sentence by sentence; parts of it are heard again. 404 until a dub has completed."""
    return await services.runtime.jobs.quality(job_id, owner_id)
