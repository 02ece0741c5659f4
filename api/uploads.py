"""Files on their way in: streamed to the object store as they come, then looked at in the jail."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Router, delete, get, post
from litestar.exceptions import HTTPException
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.params import QueryParameter

from api.auth import PROTECTED
from api.bodies import body_of
from api.errors import problems
from api.identity import for_keys
from api.multipart import IncomingFile, multipart_file
from api.services import OwnerId, TeamOfQuery, TheServices, UploadId
from api.throttling import RATE_OPT
from octavia_stream.captions.subtitle_file import CONTENT_TYPES, SubtitleFormat
from octavia_stream.config import ApiSettings
from octavia_stream.errors import InvalidRequest
from octavia_stream.media.info import MediaInfo
from octavia_stream.uploads.arrival import FileType, found_in, receive
from octavia_stream.uploads.subtitle_info import SubtitleInfo
from octavia_stream.uploads.upload import Upload

FORM_OVERHEAD_BYTES = 1024 * 1024
"""What a form may weigh beyond its file."""
MULTIPART = "multipart/form-data"
RAW = "application/octet-stream"
MAX_PAGE = 100


class TrackView(msgspec.Struct, frozen=True):
    """One sound track of a file."""

    codec: str
    channels: int
    sample_rate_hz: int
    language: str | None
    title: str | None
    default: bool


class SubtitleView(msgspec.Struct, frozen=True):
    """What a subtitle file holds."""

    format: SubtitleFormat
    cues: int
    language: str | None
    """As the file itself says it."""


class UploadView(msgspec.Struct, frozen=True):
    """A file that can be worked on."""

    id: UUID
    filename: str
    content_type: str
    size: int
    sha256: str
    created_at: datetime
    duration_s: float
    """As the file claims; 0 when it does not. Of subtitles: when the last one ends."""
    has_video: bool
    audio_tracks: list[TrackView]
    """In the order in which `audio_track` of a job counts them, from 0."""
    warnings: list[str]
    """What is damaged or will be left out."""
    subtitles: SubtitleView | None = None
    """None for media."""


class UploadPage(msgspec.Struct, frozen=True):
    """Uploads, newest first."""

    uploads: list[UploadView]
    next_before: UUID | None
    """Pass as `before` for the page after; None on the last one."""


class UploadOperation(Operation):
    """The body is read as a stream, so its schema is written here instead of derived."""

    def __post_init__(self) -> None:
        binary = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        form = Schema(type=OpenAPIType.OBJECT, properties={"file": binary}, required=["file"])
        self.request_body = RequestBody(
            content={MULTIPART: OpenAPIMediaType(schema=form), RAW: OpenAPIMediaType(schema=binary)}, required=True
        )


@post(
    "/upload",
    operation_id="upload",
    operation_class=UploadOperation,
    summary="Upload a video, an audio or a subtitle file",
    opt={**for_keys("uploads:write"), RATE_OPT: "uploads"},
    responses=problems(401, 404, 413, 415, 422, 507),
    security=PROTECTED,
    tags=["uploads"],
)
async def upload_file(
    request: Request[UUID, None, Any],
    owner_id: OwnerId,
    services: TheServices,
    file_type: Annotated[FileType, QueryParameter(description="What the file must hold.")],
    filename: Annotated[
        str | None, QueryParameter(max_length=1024, description="What a raw body is called; a form says it itself.")
    ] = None,
    team_id: TeamOfQuery = None,
) -> UploadView:
    """A form with one file, or the bytes themselves. 422 when nothing can be done with the file, and why."""
    owner = await services.access.owner_for(owner_id, team_id, "uploads:create")
    # What is known to be too much is refused unread; what turns out to be, when it is recorded.
    length = request.headers.get("content-length", "")
    stated = int(length) if length.isascii() and length.isdigit() else 0
    await services.runtime.quotas.require_room(services.runtime.pool, owner, max(1, stated - FORM_OVERHEAD_BYTES))
    incoming = await _incoming(request, filename)
    upload = await receive(services.runtime, owner, file_type, incoming.filename, incoming.chunks, owner_id)
    return view(upload)


@get(
    "/uploads",
    operation_id="listUploads",
    summary="My uploads",
    opt=for_keys("uploads:write"),
    responses=problems(401, 404),
    security=PROTECTED,
    tags=["uploads"],
)
async def list_uploads(
    owner_id: OwnerId,
    services: TheServices,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)] = 20,
    before: Annotated[UUID | None, QueryParameter(description="`next_before` of the page before.")] = None,
    team_id: TeamOfQuery = None,
) -> UploadPage:
    """Newest first."""
    owner = await services.access.owner_for(owner_id, team_id, "jobs:read")
    uploads = await services.runtime.uploads.list_uploads(owner, limit + 1, before)
    page = [view(upload) for upload in uploads[:limit]]
    return UploadPage(page, page[-1].id if len(uploads) > limit else None)


@get(
    "/uploads/{upload_id:uuid}",
    operation_id="getUpload",
    summary="An upload",
    opt=for_keys("uploads:write", team="jobs:read"),
    responses=problems(401, 404),
    security=PROTECTED,
    tags=["uploads"],
)
async def get_upload(upload_id: UploadId, owner_id: OwnerId, services: TheServices) -> UploadView:
    """404 also while a resumable upload is not complete."""
    return view(await services.runtime.uploads.get(upload_id, owner_id))


@delete(
    "/uploads/{upload_id:uuid}",
    operation_id="deleteUpload",
    summary="Delete an upload",
    opt=for_keys("uploads:write"),
    responses=problems(401, 404, 409),
    security=PROTECTED,
    tags=["uploads"],
)
async def delete_upload(upload_id: UploadId, owner_id: OwnerId, services: TheServices) -> None:
    """409 while there are jobs that were made of it."""
    upload = await services.runtime.uploads.delete(upload_id, owner_id)
    await services.runtime.objects.delete(upload.key)
    await services.previews.remove(upload.id)


def view(upload: Upload) -> UploadView:
    """What the owner may see of an upload: not where it lies."""
    info = found_in(upload)
    media = info if isinstance(info, MediaInfo) else None
    subtitles = info if isinstance(info, SubtitleInfo) else None
    return UploadView(
        id=upload.id,
        filename=upload.filename,
        content_type=upload.content_type,
        size=upload.size,
        sha256=upload.sha256,
        created_at=upload.created_at,
        duration_s=info.duration_s,
        has_video=media is not None and media.video is not None,
        audio_tracks=[
            TrackView(track.codec, track.channels, track.rate_hz, track.language, track.title, track.default)
            for track in (media.audio if media else ())
        ],
        warnings=list(info.warnings),
        subtitles=SubtitleView(subtitles.format, subtitles.cues, subtitles.language) if subtitles else None,
    )


async def _incoming(request: Request[UUID, None, Any], filename: str | None) -> IncomingFile:
    """The file in the body, unread. Raises InvalidRequest, and 415 for another kind of body."""
    kind, options = request.content_type
    if kind == MULTIPART:
        boundary = options.get("boundary", "")
        if not boundary:
            raise InvalidRequest("The form names no boundary in its Content-Type.")
        return await multipart_file(body_of(request), boundary)
    if kind == RAW or kind.startswith(("video/", "audio/")) or kind in CONTENT_TYPES.values():
        return IncomingFile(filename, body_of(request))
    raise HTTPException(status_code=415, detail=f"Send the file as {MULTIPART} or as {RAW}.")


def upload_router(settings: ApiSettings) -> Router:
    """The route for files, with its own limit on bodies."""
    return Router(
        "",
        route_handlers=[upload_file, list_uploads, get_upload, delete_upload],
        request_max_body_size=settings.max_upload_bytes + FORM_OVERHEAD_BYTES,
    )
