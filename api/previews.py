"""What a page shows of an upload: a still picture, and the shape of its sound."""

from typing import Any

from litestar import Response, Router, get
from litestar.openapi.datastructures import ResponseSpec

from api.auth import PROTECTED
from api.errors import problems
from api.identity import for_keys
from api.services import OwnerId, TheServices, UploadId
from octavia_stream.media.previews import Peaks

_CACHED = {"Cache-Control": "private, max-age=86400, immutable"}
_ERRORS = problems(401, 404, 413, 422, 507)


def _answers(kind: Any, media_type: str, description: str) -> dict[int, ResponseSpec]:
    return {200: ResponseSpec(kind, description=description, media_type=media_type, generate_examples=False), **_ERRORS}


@get(
    "/uploads/{upload_id:uuid}/thumbnail",
    operation_id="getThumbnail",
    summary="A still picture of a video",
    opt=for_keys("uploads:write"),
    media_type="image/jpeg",
    responses=_answers(bytes, "image/jpeg", "At most 640 pixels wide."),
    security=PROTECTED,
    tags=["uploads"],
)
async def get_thumbnail(upload_id: UploadId, owner_id: OwnerId, services: TheServices) -> Response[bytes]:
    """Made when it is first asked for. 404 for what has no picture."""
    upload = await services.runtime.uploads.get(upload_id, owner_id)
    content = await services.previews.thumbnail(upload)
    return Response(content, headers={**_CACHED, "Content-Type": "image/jpeg"})


@get(
    "/uploads/{upload_id:uuid}/peaks",
    operation_id="getPeaks",
    summary="The shape of the sound",
    opt=for_keys("uploads:write"),
    responses=_answers(Peaks, "application/json", "As audiowaveform and peaks.js have it."),
    security=PROTECTED,
    tags=["uploads"],
)
async def get_peaks(upload_id: UploadId, owner_id: OwnerId, services: TheServices) -> Response[bytes]:
    """Made when it is first asked for, which takes a while for a long file. 404 for what has no sound."""
    upload = await services.runtime.uploads.get(upload_id, owner_id)
    content = await services.previews.peaks(upload)
    return Response(content, headers={**_CACHED, "Content-Type": "application/json"})


preview_router = Router("", route_handlers=[get_thumbnail, get_peaks])
