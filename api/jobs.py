"""Create, start, read and cancel jobs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, Router, get, post
from litestar.params import JSONBody, QueryParameter

from api.auth import PROTECTED
from api.billing import quote_job
from api.downloads import download_job, download_job_head, job_url
from api.errors import problems
from api.events import stream_job_events, watch_job
from api.languages import reach_of
from api.services import JobId, OwnerId, Services, TheServices
from octavia_stream.errors import MediaRejected
from octavia_stream.events.event import JobEventRecord, Progress, StageCount
from octavia_stream.jobs.job import Artifact, DubbingOptions, Job, JobKind, JobStatus
from octavia_stream.languages import parse_language
from octavia_stream.media.info import MediaInfo
from octavia_stream.uploads.upload import Upload

MAX_PAGE = 100
REMAINING_LOOKBACK = 64
"""Newest events among which the last estimate of the remaining time is looked for."""

LanguageTag = Annotated[str, msgspec.Meta(min_length=2, max_length=35, description="BCP 47, such as `pt` or `en`.")]


class VideoTranslation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to dub, and how."""

    upload_id: UUID
    target_language: LanguageTag
    source_language: LanguageTag | None = None
    """None: it is detected."""
    voice: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None
    """None: the default of the target language."""
    original_gain_db: Annotated[float, msgspec.Meta(ge=-96, le=0)] = -24.0
    """How loud the original stays under the dub, in dB."""
    keep_original_track: bool = True
    audio_track: Annotated[int, msgspec.Meta(ge=0, le=63)] | None = None
    """Which audio track to dub, counted from 0; None: the default one."""


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
    options: DubbingOptions
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


@post(
    "/video-translate/create",
    operation_id="createVideoTranslation",
    summary="Create a dubbing job",
    responses=problems(401, 404, 422),
)
async def create_video_translation(
    data: JSONBody[VideoTranslation], owner_id: OwnerId, services: TheServices
) -> Response[JobView]:
    """The job waits for `process`. 422 when this server has no model or voice for what is asked."""
    options = dubbing_options(data, services)
    upload = await services.runtime.uploads.get(data.upload_id, owner_id)
    check_audio_track(data.audio_track, upload)
    job = await services.runtime.jobs.create(owner_id, "video-translate", upload.id, options)
    return Response(view(job), headers={"Location": job_url(job.id)})


def dubbing_options(data: VideoTranslation, services: Services) -> DubbingOptions:
    """The stored form of a request: languages reduced, the voice fixed. Raises UnsupportedLanguage."""
    target = parse_language(data.target_language)
    source = parse_language(data.source_language) if data.source_language is not None else None
    voice = services.registry.choose_voice(target, data.voice)
    reach_of(services.registry, services.runtime.settings.models).check(target, source)
    return DubbingOptions(
        target_language=target,
        source_language=source,
        voice=voice.id,
        original_gain_db=data.original_gain_db,
        keep_original_track=data.keep_original_track,
        audio_track=data.audio_track,
    )


def check_audio_track(wanted: int | None, upload: Upload) -> None:
    """Raises MediaRejected when the file is known to have no such track."""
    if wanted is None or upload.media_info is None:
        return
    count = len(msgspec.convert(upload.media_info, MediaInfo).audio)
    if wanted >= count:
        raise MediaRejected(f"There is no sound track {wanted}; the file has {count}, counted from 0.")


@post(
    "/{job_id:uuid}/process",
    operation_id="processJob",
    summary="Start a job",
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
    status_code=202,
    responses=problems(401, 404, 409),
)
async def cancel_job(job_id: JobId, owner_id: OwnerId, services: TheServices) -> JobView:
    """A waiting job is cancelled at once, a running one when its worker notices. 409 when it has ended."""
    return view(await services.runtime.jobs.request_cancel(job_id, owner_id))


@get("/", operation_id="listJobs", summary="My jobs", responses=problems(401))
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


@get("/{job_id:uuid}", operation_id="getJob", summary="A job", responses=problems(401, 404))
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
        create_video_translation,
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
