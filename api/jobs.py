"""Create, start, read and cancel jobs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, Router, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from api.auth import PROTECTED
from api.billing import quote_job
from api.downloads import download_job, download_job_head, job_url
from api.errors import problems
from api.events import stream_job_events, watch_job
from api.identity import for_keys
from api.job_kinds import KINDS, Asked, KindOfJob
from api.services import JobId, OwnerId, TheServices
from octavia_stream.events.event import JobEventRecord, Progress, StageCount
from octavia_stream.jobs.job import Artifact, Job, JobKind, JobOptions, JobStatus

MAX_PAGE = 100
REMAINING_LOOKBACK = 64
"""Newest events among which the last estimate of the remaining time is looked for."""


class ArtifactView(msgspec.Struct, frozen=True):
    """A result that can be downloaded."""

    name: str
    content_type: str
    size: int
    sha256: str
    url: str


class JobErrorView(msgspec.Struct, frozen=True):
    """Why a job failed."""

    code: str
    message: str


class JobLinks(msgspec.Struct, frozen=True):
    """Where to go from here."""

    self: str
    events: str
    download: str | None
    """None while there is no result."""


class JobView(msgspec.Struct, frozen=True):
    """A job as its owner sees it."""

    id: UUID
    kind: JobKind
    status: JobStatus
    upload_id: UUID
    options: JobOptions
    created_at: datetime
    submitted_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool
    phase: str | None
    percent: float
    stages: dict[str, StageCount]
    remaining_s: float | None
    """Estimated seconds left; None while nothing is known, and in lists."""
    artifacts: list[ArtifactView]
    warnings: list[str]
    report: dict[str, Any]
    error: JobErrorView | None
    last_seq: int
    """Number of the newest event; an event stream opened with `after` at this tells what comes next."""
    links: JobLinks


class JobPage(msgspec.Struct, frozen=True):
    """Jobs, newest first."""

    jobs: list[JobView]
    next_before: UUID | None
    """Pass as `before` for the page after; None on the last one."""


def creation_of(kind: KindOfJob[Asked]) -> HTTPRouteHandler:
    """The route that creates jobs of a kind."""

    async def create(data: Asked, owner_id: OwnerId, services: TheServices) -> Response[JobView]:
        upload, options = await kind.check(data, owner_id, services)
        job = await services.runtime.jobs.create(owner_id, kind.name, upload.id, options)
        return Response(view(job), headers={"Location": job_url(job.id)})

    # Each kind has a body of its own, in code and in the OpenAPI document.
    create.__annotations__["data"] = JSONBody[kind.body]  # type: ignore[misc, name-defined]
    return post(
        f"/{kind.name}/create",
        operation_id=kind.operation_id,
        summary=kind.summary,
        description="The job waits for `process`. 422 when this server cannot do what is asked, and why.",
        opt=for_keys("jobs:write"),
        responses=problems(401, 404, 422),
    )(create)


@post(
    "/{job_id:uuid}/process",
    operation_id="processJob",
    summary="Start a job",
    opt=for_keys("jobs:write"),
    status_code=202,
    responses=problems(401, 402, 404, 409),
)
async def process_job(job_id: JobId, owner_id: OwnerId, services: TheServices) -> Response[JobView]:
    """Workers may take it from now on. Asking again changes nothing. 402 when it costs more credits than there are."""
    job = await services.runtime.jobs.submit(job_id, owner_id)
    return Response(view(job), headers={"Location": job_url(job.id)})


@post(
    "/{job_id:uuid}/cancel",
    operation_id="cancelJob",
    summary="Cancel a job",
    opt=for_keys("jobs:write"),
    status_code=202,
    responses=problems(401, 404, 409),
)
async def cancel_job(job_id: JobId, owner_id: OwnerId, services: TheServices) -> JobView:
    """A waiting job is cancelled at once, a running one when its worker notices. 409 when it has ended."""
    return view(await services.runtime.jobs.request_cancel(job_id, owner_id))


@get("/", operation_id="listJobs", summary="My jobs", opt=for_keys("jobs:read"), responses=problems(401))
async def list_jobs(
    owner_id: OwnerId,
    services: TheServices,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)] = 20,
    before: Annotated[UUID | None, QueryParameter(description="`next_before` of the page before.")] = None,
) -> Response[JobPage]:
    """Newest first. The next page is also in the header `Link`, with `rel="next"`."""
    jobs = await services.runtime.jobs.list_jobs(owner_id, limit + 1, before)
    page, more = jobs[:limit], len(jobs) > limit
    next_before = page[-1].id if more else None
    headers = {"Link": f'</api/v1/jobs?limit={limit}&before={next_before}>; rel="next"'} if more else {}
    return Response(JobPage([view(job) for job in page], next_before), headers=headers)


@get("/{job_id:uuid}", operation_id="getJob", summary="A job", opt=for_keys("jobs:read"), responses=problems(401, 404))
async def get_job(job_id: JobId, owner_id: OwnerId, services: TheServices) -> JobView:
    """Its state, counts per stage, estimate, results and warnings."""
    job = await services.runtime.jobs.get(job_id, owner_id)
    if job.status != "processing":
        return view(job)
    newest = await services.runtime.jobs.events_after(job_id, max(0, job.last_seq - REMAINING_LOOKBACK))
    return view(job, remaining(newest))


def remaining(newest: Sequence[JobEventRecord]) -> float | None:
    """The last estimate among these events."""
    estimates = (record.event.remaining_s for record in reversed(newest) if isinstance(record.event, Progress))
    return next(estimates, None)


def view(job: Job, remaining_s: float | None = None) -> JobView:
    """What the owner may see of a job: not where things lie, nor who works on it."""
    here = job_url(job.id)
    return JobView(
        id=job.id,
        kind=job.kind,
        status=job.status,
        upload_id=job.upload_id,
        options=job.options,
        created_at=job.created_at,
        submitted_at=job.submitted_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        cancel_requested=job.cancel_requested,
        phase=job.phase,
        percent=job.percent,
        stages=job.stages,
        remaining_s=remaining_s,
        artifacts=[_artifact(here, artifact) for artifact in job.artifacts],
        warnings=job.warnings,
        report=job.report,
        error=JobErrorView(job.error_code, job.error_message or "") if job.error_code else None,
        last_seq=job.last_seq,
        links=JobLinks(here, f"{here}/events", f"{here}/download" if job.artifacts else None),
    )


def _artifact(here: str, artifact: Artifact) -> ArtifactView:
    return ArtifactView(
        artifact.name,
        artifact.content_type,
        artifact.size,
        artifact.sha256,
        f"{here}/download?artifact={artifact.name}",
    )


jobs_router = Router(
    "/jobs",
    route_handlers=[
        *(creation_of(kind) for kind in KINDS),
        quote_job,
        process_job,
        cancel_job,
        list_jobs,
        get_job,
        download_job,
        download_job_head,
        stream_job_events,
        watch_job,
    ],
    security=PROTECTED,
    tags=["jobs"],
)
