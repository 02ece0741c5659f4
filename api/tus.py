"""Uploads that come in pieces and survive every break: tus 1.0 (https://tus.io/protocols/resumable-upload).

Extensions: creation, creation-with-upload, expiration, checksum, termination. An upload whose last byte has come is an
upload like any other, under the same id; until then it can do nothing but grow.
"""

import base64
import binascii
from collections.abc import AsyncIterator
from email.utils import format_datetime
from typing import Annotated, Any, cast, get_args
from uuid import UUID

from litestar import Request, Response, Router, delete, head, patch, post, route
from litestar.datastructures import ResponseHeader
from litestar.enums import HttpMethod
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.params import HeaderParameter

from api.auth import PROTECTED
from api.bodies import body_of
from api.errors import problem_response, problems
from api.identity import for_keys
from api.services import OwnerId, Services, TheServices, UploadId, WhoAsks
from api.throttling import RATE_OPT
from octavia_stream.config import ApiSettings
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import Conflict, InvalidRequest, MediaRejected, NotFound
from octavia_stream.uploads.arrival import UNNAMED, FileType, largest, too_large
from octavia_stream.uploads.pieces import DIGEST_BYTES, Checksum
from octavia_stream.uploads.resumable import ResumableUpload
from octavia_stream.uploads.upload import Upload

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
PIECE = "application/offset+octet-stream"
MAX_METADATA = 4096
_RESUMABLE = {"Tus-Resumable": VERSION}
_NOT_STORED = {"Cache-Control": "no-store"}

Number = Annotated[int | None, HeaderParameter(name="Upload-Offset", ge=0, description="Where this piece starts.")]
Length = Annotated[int | None, HeaderParameter(name="Upload-Length", ge=0, description="Bytes of the whole file.")]
Metadata = Annotated[
    str | None,
    HeaderParameter(
        name="Upload-Metadata",
        max_length=MAX_METADATA,
        description="`filename` and `file_type` (video, audio, subtitle; or `filetype`, a media type), in base64.",
    ),
]
Sum = Annotated[
    str | None,
    HeaderParameter(name="Upload-Checksum", max_length=200, description="`sha1` or `sha256`, a space, base64."),
]
Protocol = Annotated[str | None, HeaderParameter(name="Tus-Resumable", description=f"{VERSION}.")]


class PieceOperation(Operation):
    """The body is read as a stream, so its schema is written here."""

    def __post_init__(self) -> None:
        binary = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        self.request_body = RequestBody(content={PIECE: OpenAPIMediaType(schema=binary)}, required=False)


def _empty(*statuses: int) -> dict[int, ResponseSpec]:
    return {status: ResponseSpec(None, description="Done.", generate_examples=False) for status in statuses}


@route(
    ["/", "/{upload_id:uuid}"],
    http_method=[HttpMethod.OPTIONS],
    status_code=204,
    opt={"public": True},
    include_in_schema=False,
)
async def describe(services: TheServices) -> Response[None]:
    """What this server can do."""
    headers = {
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(services.runtime.settings.api.max_upload_bytes),
        "Tus-Checksum-Algorithm": ",".join(DIGEST_BYTES),
    }
    return Response(None, status_code=204, headers=headers)


@post(
    "/",
    operation_id="createResumableUpload",
    operation_class=PieceOperation,
    summary="Begin a resumable upload",
    status_code=201,
    opt={**for_keys("uploads:write"), RATE_OPT: "uploads"},
    responses={**_empty(201), **problems(401, 409, 412, 413, 415, 422, 460, 507)},
    security=PROTECTED,
)
async def create(
    request: Request[UUID, Any, Any],
    owner_id: OwnerId,
    identity: WhoAsks,
    services: TheServices,
    upload_length: Length = None,
    upload_metadata: Metadata = None,
    upload_checksum: Sum = None,
    tus_resumable: Protocol = None,
) -> Response[None]:
    """`Location` says where the pieces go. A body, of type `application/offset+octet-stream`, is the first piece."""
    _check_version(tus_resumable)
    filename, file_type = _named(_parsed(upload_metadata or ""))
    if upload_length is None:
        raise InvalidRequest("Say how long the file is, in Upload-Length.")
    if upload_length == 0:
        raise InvalidRequest("The file is empty.")
    limit = largest(services.runtime.settings.api, file_type)
    if upload_length > limit:
        raise too_large(limit)
    checksum = _checksum(upload_checksum)
    upload = await services.runtime.resumable.open(
        uuid7(), owner_id, filename, file_type, upload_metadata or "", upload_length, created_by=identity.account_id
    )
    headers = {"Location": f"{request.url.path.rstrip('/')}/{upload.id}", **_progress(upload, 0)}
    if _media_type(request) == PIECE:
        headers |= await _append(request, upload, checksum, services)
    return Response(None, status_code=201, headers=headers)


@head(
    "/{upload_id:uuid}",
    operation_id="resumableUpload",
    summary="How far a resumable upload has come",
    opt={**for_keys("uploads:write"), RATE_OPT: "uploads"},
    responses={**_empty(200), **problems(401, 404, 409, 412, 422, 507)},
    security=PROTECTED,
)
async def progress(
    upload_id: UploadId, owner_id: OwnerId, services: TheServices, tus_resumable: Protocol = None
) -> Response[None]:
    """`Upload-Offset` is where to go on. It equals `Upload-Length` only once the file was looked at and taken."""
    found = await _find(upload_id, owner_id, services)
    _check_version(tus_resumable)
    if isinstance(found, Upload):
        headers = {"Upload-Offset": str(found.size), "Upload-Length": str(found.size)}
    else:
        offset = found.received
        if found.is_whole:
            await services.pieces.finish(found)
        headers = {"Upload-Length": str(found.size), **_progress(found, offset)}
        if found.metadata:
            headers["Upload-Metadata"] = found.metadata
    return Response(None, headers=headers | _NOT_STORED)


@patch(
    "/{upload_id:uuid}",
    operation_id="continueResumableUpload",
    operation_class=PieceOperation,
    summary="Add to a resumable upload",
    status_code=204,
    opt={**for_keys("uploads:write"), RATE_OPT: "uploads"},
    responses={**_empty(204), **problems(401, 404, 409, 412, 413, 415, 422, 460, 507)},
    security=PROTECTED,
)
async def add_piece(
    request: Request[UUID, Any, Any],
    upload_id: UploadId,
    owner_id: OwnerId,
    services: TheServices,
    upload_offset: Number = None,
    upload_checksum: Sum = None,
    tus_resumable: Protocol = None,
) -> Response[None]:
    """The answer to the last piece comes when the file was looked at: 422 when nothing can be done with it."""
    found = await _find(upload_id, owner_id, services)
    _check_version(tus_resumable)
    return await _add(request, found, services, upload_offset, _checksum(upload_checksum))


@post(
    "/{upload_id:uuid}",
    operation_id="overriddenResumableUpload",
    operation_class=PieceOperation,
    summary="The same, for clients that can only POST",
    status_code=204,
    opt={**for_keys("uploads:write"), RATE_OPT: "uploads"},
    responses={**_empty(204), **problems(401, 404, 409, 412, 413, 415, 422, 460, 507)},
    security=PROTECTED,
)
async def overridden(
    request: Request[UUID, Any, Any],
    upload_id: UploadId,
    owner_id: OwnerId,
    services: TheServices,
    x_http_method_override: Annotated[
        str | None, HeaderParameter(name="X-HTTP-Method-Override", description="PATCH or DELETE.")
    ] = None,
    upload_offset: Number = None,
    upload_checksum: Sum = None,
    tus_resumable: Protocol = None,
) -> Response[None]:
    """`X-HTTP-Method-Override` says what is meant."""
    found = await _find(upload_id, owner_id, services)
    _check_version(tus_resumable)
    if x_http_method_override == "PATCH":
        return await _add(request, found, services, upload_offset, _checksum(upload_checksum))
    if x_http_method_override == "DELETE":
        await _terminate(found, services)
        return Response(None, status_code=204)
    raise InvalidRequest("Say in X-HTTP-Method-Override what is meant: PATCH or DELETE.")


@delete(
    "/{upload_id:uuid}",
    operation_id="endResumableUpload",
    summary="Give a resumable upload up",
    opt=for_keys("uploads:write"),
    responses=problems(401, 404, 409, 412),
    security=PROTECTED,
)
async def terminate(
    upload_id: UploadId, owner_id: OwnerId, services: TheServices, tus_resumable: Protocol = None
) -> None:
    """What has come is removed; also the whole file, when all of it has: 409 if a job was made of it."""
    found = await _find(upload_id, owner_id, services)
    _check_version(tus_resumable)
    await _terminate(found, services)


async def _terminate(found: ResumableUpload | Upload, services: Services) -> None:
    if isinstance(found, Upload):
        await services.runtime.uploads.delete(found.id, found.owner_id)
        await services.runtime.objects.delete(found.key)
        await services.previews.remove(found.id)
    else:
        await services.pieces.give_up(found)


async def _add(
    request: Request[UUID, Any, Any],
    found: ResumableUpload | Upload,
    services: Services,
    offset: int | None,
    checksum: Checksum | None,
) -> Response[None]:
    if _media_type(request) != PIECE:
        raise HTTPException(status_code=415, detail=f"Send pieces as {PIECE}.")
    if offset is None:
        raise InvalidRequest("Say where this piece starts, in Upload-Offset.")
    if isinstance(found, Upload):
        if offset != found.size:
            raise Conflict(f"The upload is complete, at {found.size} bytes.")
        return Response(None, status_code=204, headers={"Upload-Offset": str(found.size)})
    if offset != found.received:
        raise Conflict(f"The upload is at {found.received} and not at {offset} bytes; go on there.")
    return Response(None, status_code=204, headers=await _append(request, found, checksum, services))


async def _append(
    request: Request[UUID, Any, Any], upload: ResumableUpload, checksum: Checksum | None, services: Services
) -> dict[str, str]:
    """Take a piece, and finish the upload if it was the last one; returns the headers that say so."""
    offset = await services.pieces.append(upload, _announced(request, upload), checksum)
    if offset == upload.size:
        await services.pieces.finish(upload)
    return _progress(upload, offset)


def _announced(request: Request[UUID, Any, Any], upload: ResumableUpload) -> AsyncIterator[bytes]:
    """The body, refused unread when its length says already that it is too long."""
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and len(length) < 19 and int(length) > upload.size - upload.received:
        raise InvalidRequest(f"More comes than the {upload.size} bytes that were announced.")
    return body_of(request)


async def _find(upload_id: UUID, owner_id: UUID, services: Services) -> ResumableUpload | Upload:
    """The upload on its way, or what it has become. Raises NotFound, and MediaRejected when it was refused."""
    try:
        found = await services.runtime.resumable.get(upload_id, owner_id)
    except NotFound:
        return await services.runtime.uploads.get(upload_id, owner_id)
    if found.refusal is not None:
        raise MediaRejected(found.refusal)
    return found


def _progress(upload: ResumableUpload, offset: int) -> dict[str, str]:
    return {"Upload-Offset": str(offset), "Upload-Expires": format_datetime(upload.expires_at, usegmt=True)}


def _check_version(protocol: str | None) -> None:
    if protocol != VERSION:
        raise HTTPException(
            status_code=412, detail=f"Send the header Tus-Resumable: {VERSION}.", headers={"Tus-Version": VERSION}
        )


def _media_type(request: Request[Any, Any, Any]) -> str:
    return request.content_type[0]


def _parsed(metadata: str) -> dict[str, str]:
    """`key base64, key base64`; a key may stand alone. Raises InvalidRequest."""
    found = {}
    for pair in filter(None, (part.strip() for part in metadata.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise InvalidRequest("Upload-Metadata is not pairs of a key and base64.") from error
    return found


def _named(metadata: dict[str, str]) -> tuple[str, FileType]:
    """What the file is called and must hold. Raises InvalidRequest."""
    wanted = metadata.get("file_type") or metadata.get("filetype", "").partition("/")[0]
    if wanted not in get_args(FileType):
        raise InvalidRequest("Say in Upload-Metadata what file_type it is: video, audio or subtitle.")
    return metadata.get("filename") or metadata.get("name") or UNNAMED, cast(FileType, wanted)


def _checksum(header: str | None) -> Checksum | None:
    """Raises InvalidRequest."""
    if header is None:
        return None
    algorithm, _, digest = header.partition(" ")
    if algorithm not in DIGEST_BYTES:
        raise InvalidRequest(f"Upload-Checksum must be of {' or '.join(DIGEST_BYTES)}.")
    try:
        expected = base64.b64decode(digest, validate=True)
    except binascii.Error as error:
        raise InvalidRequest("Upload-Checksum is not base64.") from error
    if len(expected) != DIGEST_BYTES[algorithm]:
        raise InvalidRequest(f"Upload-Checksum is not as long as one of {algorithm} is.")
    return Checksum(algorithm, expected)


def _problem(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """As everywhere, and with the header that tus wants in every answer."""
    answer = problem_response(request, error)
    answer.headers |= _RESUMABLE
    return answer


def tus_router(settings: ApiSettings) -> Router:
    """The routes of tus, with their own limit on bodies."""
    return Router(
        "/tus",
        route_handlers=[describe, create, progress, add_piece, overridden, terminate],
        response_headers=[ResponseHeader(name="Tus-Resumable", value=VERSION)],
        exception_handlers={Exception: _problem},
        request_max_body_size=settings.max_upload_bytes,
        tags=["uploads"],
    )
