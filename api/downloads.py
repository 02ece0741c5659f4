"""Results on their way out: whole, a part, or only what they would be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, head
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.response import Stream

from api.errors import problems
from api.filenames import content_disposition, download_name
from api.identity import for_keys
from api.ranges import ByteRange, Unsatisfiable, parse_range
from api.services import JobId, OwnerId, Services, TheServices
from octavia_stream.errors import Conflict, InvalidRequest, NotFound
from octavia_stream.jobs.job import Artifact, Job
from octavia_stream.languages import Language, parse_language

MAIN_ARTIFACT = "dub"
"""The stem of the artifact that is the dubbed file itself."""

ANY_TYPE = "*/*"
"""A file comes with its own type."""

ArtifactName = Annotated[
    str | None, QueryParameter(max_length=255, description="A name out of the job's `artifacts`; the dub without it.")
]

ResultVersion = Annotated[
    int | None, QueryParameter(ge=1, le=2**31 - 1, description="Of the job's results; without it the newest.")
]

ResultLanguage = Annotated[
    str | None,
    QueryParameter(min_length=2, max_length=35, description="In place of a name: the main result in this language."),
]


def _answers(content: type[bytes] | None) -> dict[int, ResponseSpec]:
    """What a download may answer, for OpenAPI. content: what the body is; None for HEAD."""
    return {
        200: ResponseSpec(content, description="The whole file.", media_type=ANY_TYPE, generate_examples=False),
        206: ResponseSpec(content, description="The part asked for.", media_type=ANY_TYPE, generate_examples=False),
        304: ResponseSpec(None, description="The client has this version.", generate_examples=False),
        **problems(401, 404, 409, 416, 422),
    }


def job_url(job_id: UUID) -> str:
    """The path of a job."""
    return f"/api/v1/jobs/{job_id}"


@dataclass(frozen=True, slots=True)
class FileView:
    """A file that can be fetched."""

    key: str
    filename: str
    """As it is offered."""
    content_type: str
    size: int
    sha256: str
    artifact: str | None = None
    """Its name among the job's results."""


@dataclass(frozen=True, slots=True)
class Download:
    """What to answer: the file, which part of it, and how to call it."""

    file: FileView
    part: ByteRange | None
    headers: dict[str, str]

    @property
    def status(self) -> int:
        return 200 if self.part is None else 206

    @property
    def span(self) -> ByteRange:
        """The bytes to send."""
        return self.part or ByteRange(0, self.file.size)


@get(
    "/{job_id:uuid}/download",
    operation_id="downloadJob",
    summary="Download a result",
    opt=for_keys("jobs:read"),
    media_type="application/octet-stream",
    responses=_answers(bytes),
)
async def download_job(
    request: Request[UUID, None, Any],
    job_id: JobId,
    owner_id: OwnerId,
    services: TheServices,
    artifact: ArtifactName = None,
    language: ResultLanguage = None,
    version: ResultVersion = None,
) -> Stream | Response[bytes]:
    """Takes one `Range`, `If-Range` and `If-None-Match`. 409 until the job has completed for the first time."""
    file = await result_of(services, job_id, owner_id, Wanted(artifact, language, version))
    return answer_with(request, download_of(request, file), services)


@head(
    "/{job_id:uuid}/download",
    operation_id="downloadJobHead",
    summary="What a download would be",
    opt=for_keys("jobs:read"),
    responses=_answers(None),
)
async def download_job_head(
    request: Request[UUID, None, Any],
    job_id: JobId,
    owner_id: OwnerId,
    services: TheServices,
    artifact: ArtifactName = None,
    language: ResultLanguage = None,
    version: ResultVersion = None,
) -> Response[None]:
    """The headers of the same GET."""
    download = download_of(request, await result_of(services, job_id, owner_id, Wanted(artifact, language, version)))
    if _unchanged(request, download):
        return Response(None, status_code=304, headers=_kept(download))
    return Response(None, status_code=download.status, headers=download.headers)


def answer_with(request: Request[Any, Any, Any], download: Download, services: Services) -> Stream | Response[bytes]:
    """The bytes that were asked for, or that the client has them."""
    if _unchanged(request, download):
        return Response(b"", status_code=304, headers=_kept(download))
    content = services.runtime.objects.stream(download.file.key, download.span.start, download.span.end)
    return Stream(content, status_code=download.status, headers=download.headers)


async def result_of(services: Services, job_id: UUID, owner_id: UUID, wanted: "Wanted") -> FileView:
    """A result of a job. Raises NotFound, Conflict."""
    job = await services.runtime.jobs.get(job_id, owner_id)
    if wanted.version not in (None, job.version):
        older = await services.runtime.versions.get(job_id, wanted.version or 0)
        job = msgspec.structs.replace(job, artifacts=older.artifacts)
    artifact = _artifact(job, wanted)
    upload = await services.runtime.uploads.get(job.upload_id, owner_id)
    options = job.options
    name = download_name(upload.filename, artifact.name, options.source_language, options.result_language)
    return FileView(artifact.key, name, artifact.content_type, artifact.size, artifact.sha256, artifact.name)


def download_of(request: Request[Any, Any, Any], file: FileView) -> Download:
    """What to answer to this request for a file. Raises 416 for a range outside it."""
    etag = f'"{file.sha256}"'
    part = _part(request, etag, file.size)
    headers = {
        "Content-Type": file.content_type,
        "Content-Length": str(file.size if part is None else part.length),
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": content_disposition(file.filename),
        "Cache-Control": "private, no-cache",
    }
    if part is not None:
        headers["Content-Range"] = part.content_range(file.size)
    return Download(file, part, headers)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which result is asked for; the dub when nothing is said."""

    name: str | None
    language: str | None
    version: int | None = None
    """None: the newest."""

    def among(self, job: Job) -> Artifact | None:
        """Raises InvalidRequest when it says two things, UnsupportedLanguage for a tag that is none."""
        if self.name is not None:
            if self.language is not None:
                raise InvalidRequest("Name either an artifact or a language.")
            return next((artifact for artifact in job.artifacts if artifact.name == self.name), None)
        return _main(job, parse_language(self.language)) if self.language is not None else main_artifact(job.artifacts)


def _artifact(job: Job, wanted: Wanted) -> Artifact:
    """Raises Conflict before the job has completed, NotFound. While a dub is edited, what it was is there."""
    if job.status != "completed" and not job.artifacts:
        raise Conflict(f"The job is {job.status}; there is nothing to download.")
    found = wanted.among(job)
    if found is None:
        names = ", ".join(artifact.name for artifact in job.artifacts) or "none"
        raise NotFound(f"The job has no such result; its results are {names}.")
    return found


def _main(job: Job, language: Language) -> Artifact | None:
    """The dub in a language, else the subtitles in it."""
    stems = [f"{MAIN_ARTIFACT}.{language}", language]
    if job.options.result_language == language:
        stems.insert(0, MAIN_ARTIFACT)
    by_stem = {artifact.name.rpartition(".")[0]: artifact for artifact in reversed(job.artifacts)}
    return next((by_stem[stem] for stem in stems if stem in by_stem), None)


def main_artifact(artifacts: Sequence[Artifact]) -> Artifact | None:
    """The dub, or the first there is."""
    dubs = (artifact for artifact in artifacts if artifact.name.partition(".")[0] == MAIN_ARTIFACT)
    return next(dubs, artifacts[0] if artifacts else None)


def _part(request: Request[Any, Any, Any], etag: str, size: int) -> ByteRange | None:
    """The part asked for; None for the whole, also when `If-Range` names another version (RFC 9110, 13.1.5)."""
    if request.headers.get("if-range", etag).strip() != etag:
        return None
    try:
        return parse_range(request.headers.get("range"), size)
    except Unsatisfiable as error:
        raise HTTPException(
            status_code=416,
            detail=f"The range lies outside the file of {size} bytes.",
            headers={"Content-Range": f"bytes */{size}"},
        ) from error


def _unchanged(request: Request[Any, Any, Any], download: Download) -> bool:
    """Whether the client says it has this version already."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return download.headers["ETag"] in known or "*" in known


def _kept(download: Download) -> dict[str, str]:
    """The headers that a 304 repeats."""
    return {name: download.headers[name] for name in ("ETag", "Cache-Control")}
