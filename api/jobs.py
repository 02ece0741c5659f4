"""Create, start, read and cancel jobs."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Response, Router, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from api.auth import PROTECTED
from api.billing import quote_job
from api.downloads import download_job, download_job_head, job_url
from api.errors import problems
from api.events import stream_job_events, watch_job
from api.idempotency import IdempotencyKey, once
from api.identity import for_keys
from api.job_defaults import with_defaults
from api.job_kinds import KINDS, Asked, KindOfJob, Tags
from api.job_sources import with_source
from api.quality import get_job_quality
from api.segments import edit_segments, list_segments, list_versions
from api.services import JobId, OwnerId, TeamOfQuery, TheServices, WhoAsks
from api.streams import stream_job, stream_job_file
from octavia_stream.errors import InvalidRequest
from octavia_stream.events.event import JobEventRecord, Progress, StageCount
from octavia_stream.jobs.job import Artifact, Job, JobFilter, JobKind, JobOptions, JobStatus
from octavia_stream.jobs.removal import remove_job
from octavia_stream.languages import parse_language

MAX_PAGE = 100
FIRST_YEAR, LAST_YEAR = 1970, 9998
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
    team_id: UUID | None
    """The team that owns it; None: a person."""
    created_by: UUID | None
    """The account that asked for it; None when it is gone."""
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
    version: int
    """Of its results: 1 for a dub, one more with each edit; 0 where there is nothing that can be edited."""
    last_seq: int
    """Number of the newest event; an event stream opened with `after` at this tells what comes next."""
    links: JobLinks


class JobChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be changed of a job."""

    tags: Tags
    """In place of those it has."""


class JobPage(msgspec.Struct, frozen=True):
    """Jobs, newest first."""

    jobs: list[JobView]
    next_before: UUID | None
    """Pass as `before` for the page after; None on the last one."""


def creation_of(kind: KindOfJob[Asked]) -> HTTPRouteHandler:
    """The route that creates jobs of a kind."""

    async def create(
        data: Asked, owner_id: OwnerId, services: TheServices, idempotency_key: IdempotencyKey = None
    ) -> Response[JobView]:
        async def work(job_id: UUID | None) -> JobView:
            owner = await services.access.owner_for(owner_id, data.team_id, "jobs:create")
            ready = await with_defaults(await with_source(data, owner_id, owner, services), owner_id, owner, services)
            upload, options = await kind.check(ready, owner, services)
            jobs, options = services.runtime.jobs, msgspec.structs.replace(options, tags=_each_once(data.tags))
            return view(await jobs.create(owner, kind.name, upload.id, options, job_id, created_by=owner_id))

        asked = (kind.operation_id, data)
        made = await once(services.runtime.pool, owner_id, idempotency_key, asked, JobView, work)
        return Response(made, headers={"Location": job_url(made.id)})

    # Each kind has a body of its own, in code and in the OpenAPI document.
    create.__annotations__["data"] = JSONBody[kind.body]  # type: ignore[misc, name-defined]
    return post(
        f"/{kind.name}/create",
        operation_id=kind.operation_id,
        summary=kind.summary,
        description="The job waits for `process`. 422 when this server cannot do what is asked, and why.",
        opt=for_keys("jobs:write"),
        responses=problems(401, 404, 409, 413, 422, 507),
    )(create)


@post(
    "/{job_id:uuid}/process",
    operation_id="processJob",
    summary="Start a job",
    opt=for_keys("jobs:write", team="jobs:run"),
    status_code=202,
    responses=problems(401, 402, 404, 409, 422),
)
async def process_job(
    job_id: JobId,
    owner_id: OwnerId,
    identity: WhoAsks,
    services: TheServices,
    idempotency_key: IdempotencyKey = None,
) -> Response[JobView]:
    """Workers may take it from now on. Asking again changes nothing. 402 when it costs more credits than there are."""

    async def work(_: UUID | None) -> JobView:
        return view(await services.runtime.jobs.submit(job_id, owner_id))

    asked = ("processJob", job_id)
    started = await once(services.runtime.pool, identity.account_id, idempotency_key, asked, JobView, work)
    return Response(started, headers={"Location": job_url(started.id)})


@post(
    "/{job_id:uuid}/retry",
    operation_id="retryJob",
    summary="Run a job again that failed or was cancelled",
    opt=for_keys("jobs:write", team="jobs:run"),
    status_code=202,
    responses=problems(401, 402, 404, 409),
)
async def retry_job(job_id: JobId, owner_id: OwnerId, services: TheServices) -> Response[JobView]:
    """It goes on from what it had finished. 409 in any other state, 402 when it costs more credits than there are."""
    job = await services.runtime.jobs.retry(job_id, owner_id)
    return Response(view(job), headers={"Location": job_url(job.id)})


@patch(
    "/{job_id:uuid}",
    operation_id="changeJob",
    summary="Call a job otherwise",
    opt=for_keys("jobs:write"),
    responses=problems(401, 404),
)
async def change_job(data: JSONBody[JobChange], job_id: JobId, owner_id: OwnerId, services: TheServices) -> JobView:
    """Its tags, in any state; nothing else of a job can be changed."""
    return view(await services.runtime.jobs.set_tags(job_id, owner_id, _each_once(data.tags)))


def _each_once(tags: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag.strip() for tag in tags))


@delete(
    "/{job_id:uuid}",
    operation_id="deleteJob",
    summary="Delete a job and its results",
    opt=for_keys("jobs:write"),
    responses=problems(401, 404, 409),
)
async def delete_job(job_id: JobId, owner_id: OwnerId, services: TheServices) -> None:
    """Everything it owns goes with it; its upload stays. 409 while it runs: cancel it first."""
    await remove_job(services.runtime.jobs, services.runtime.objects, job_id, owner_id)


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


@get("/", operation_id="listJobs", summary="My jobs", opt=for_keys("jobs:read"), responses=problems(401, 404, 422))
async def list_jobs(
    owner_id: OwnerId,
    services: TheServices,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)] = 20,
    before: Annotated[UUID | None, QueryParameter(description="`next_before` of the page before.")] = None,
    kind: Annotated[JobKind | None, QueryParameter()] = None,
    status: Annotated[JobStatus | None, QueryParameter()] = None,
    target_language: Annotated[str | None, QueryParameter(min_length=2, max_length=35)] = None,
    since: Annotated[datetime | None, QueryParameter(description="Created then or later.")] = None,
    until: Annotated[datetime | None, QueryParameter(description="Created before.")] = None,
    text: Annotated[
        str | None, QueryParameter(min_length=1, max_length=200, description="Part of the upload's name.")
    ] = None,
    tag: Annotated[str | None, QueryParameter(min_length=1, max_length=50)] = None,
    team_id: TeamOfQuery = None,
) -> Response[JobPage]:
    """Newest first, those that fit all that is asked. The next page is also in the header `Link`, `rel="next"`."""
    if "\0" in (text or "") + (tag or ""):
        raise InvalidRequest("Neither names of files nor tags have such a character in them.")
    language = parse_language(target_language) if target_language is not None else None
    only = JobFilter(kind, status, language, _instant(since), _instant(until), text, tag)
    owner = await services.access.owner_for(owner_id, team_id, "jobs:read")
    jobs = await services.runtime.jobs.list_jobs(owner, limit + 1, before, only)
    page, more = jobs[:limit], len(jobs) > limit
    next_before = page[-1].id if more else None
    headers = {"Link": f'<{_next_page(only, limit, next_before, team_id)}>; rel="next"'} if next_before else {}
    return Response(JobPage([view(job) for job in page], next_before), headers=headers)


def _instant(time: datetime | None) -> datetime | None:
    """With a time zone: UTC where none was said. Raises InvalidRequest for times that no calendar here holds."""
    if time is None:
        return None
    if not FIRST_YEAR <= time.year <= LAST_YEAR:
        raise InvalidRequest(f"Years from {FIRST_YEAR} to {LAST_YEAR} can be asked for.")
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _next_page(only: JobFilter, limit: int, before: UUID, team_id: UUID | None) -> str:
    asked: dict[str, Any] = {"limit": limit, "before": before, **msgspec.structs.asdict(only), "team_id": team_id}
    return "/api/v1/jobs?" + urlencode({name: value for name, value in asked.items() if value is not None})


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
        team_id=job.team_id,
        created_by=job.created_by,
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
        version=job.version,
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
        retry_job,
        delete_job,
        change_job,
        list_jobs,
        get_job,
        download_job,
        download_job_head,
        list_segments,
        edit_segments,
        list_versions,
        get_job_quality,
        stream_job,
        stream_job_file,
        stream_job_events,
        watch_job,
    ],
    security=PROTECTED,
    tags=["jobs"],
)
