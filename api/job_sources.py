"""A job made of what an earlier one left: its result becomes an upload, as if it had been fetched and brought again."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from uuid import UUID

import msgspec
from msgspec import UNSET

from api.downloads import main_artifact
from api.filenames import download_name
from api.job_kinds import Asked, EarlierResult
from api.services import Services
from octavia_stream.captions.subtitle_file import CONTENT_TYPES
from octavia_stream.errors import Conflict, InvalidRequest, MediaRejected, NotFound
from octavia_stream.jobs.job import Artifact, Job
from octavia_stream.languages import Language
from octavia_stream.uploads.arrival import FileType, receive
from octavia_stream.uploads.upload import Upload

SUBTITLE_TYPES = frozenset(CONTENT_TYPES.values())


async def with_source(data: Asked, account_id: UUID, owner_id: UUID, services: Services) -> Asked:
    """The same request with the upload that it is about.

    Raises InvalidRequest when it names none or two, NotFound, Conflict while the earlier job has not completed,
    MediaRejected for a result that no job can be made of, QuotaExceeded.
    """
    if (data.upload_id is None) == (data.source is None):
        raise InvalidRequest("Name either upload_id or source.")
    if data.source is None:
        return data
    job = await services.runtime.jobs.get(data.source.job_id, owner_id)
    artifact = _artifact(job, data.source)
    upload = await _brought(job, artifact, account_id, owner_id, services)
    changed: dict[str, object] = {"upload_id": upload.id, "source": None}
    language = _language(job, artifact)
    if language is not None and getattr(data, "source_language", language) in {None, UNSET}:
        changed["source_language"] = language
    return msgspec.structs.replace(data, **changed)


def _artifact(job: Job, source: EarlierResult) -> Artifact:
    if job.status != "completed":
        raise Conflict(f"The job that source names is {job.status}; there is nothing to go on from.")
    named = (artifact for artifact in job.artifacts if artifact.name == source.artifact)
    found = main_artifact(job.artifacts) if source.artifact is None else next(named, None)
    if found is None:
        raise NotFound(f"The job that source names has no such result; its results are {_names(job.artifacts)}.")
    return found


def _names(artifacts: Sequence[Artifact]) -> str:
    return ", ".join(artifact.name for artifact in artifacts) or "none"


async def _brought(job: Job, artifact: Artifact, account_id: UUID, owner_id: UUID, services: Services) -> Upload:
    runtime = services.runtime
    source = await runtime.uploads.get(job.upload_id, owner_id)
    options = job.options
    name = download_name(source.filename, artifact.name, options.source_language, options.result_language)
    content = runtime.objects.stream(artifact.key)
    return await receive(runtime, owner_id, _file_type(artifact), name, content, account_id)


def _file_type(artifact: Artifact) -> FileType:
    kind = artifact.content_type.partition("/")[0]
    if artifact.content_type in SUBTITLE_TYPES:
        return "subtitle"
    if kind == "video":
        return "video"
    if kind == "audio":
        return "audio"
    raise MediaRejected(f"{artifact.name} is neither media nor subtitles, so no job can be made of it.")


def _language(job: Job, artifact: Artifact) -> Language | None:
    """The language a result is in, as far as its name says: `pt.srt`, `dub.pt.mp4`; of a dub alone the job says it."""
    stem = PurePosixPath(artifact.name).stem
    if stem == "dub":
        return Language(job.options.result_language) if job.options.result_language is not None else None
    parts = {part for part in stem.split(".") if part != "dub"}
    return Language(parts.pop()) if len(parts) == 1 else None
