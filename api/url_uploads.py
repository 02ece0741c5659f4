"""Files that this server fetches itself, from an address that a user names."""

from typing import Annotated

import msgspec
from litestar import post
from litestar.params import JSONBody

from api.auth import PROTECTED
from api.errors import problems
from api.identity import for_keys
from api.services import OwnerId, TheServices
from api.uploads import UploadView, view
from octavia_stream.errors import NotFound
from octavia_stream.uploads.arrival import FileType, largest, receive
from octavia_stream.uploads.fetching import remote_file


class UrlUpload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that lies elsewhere."""

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
    file_type: FileType
    filename: Annotated[str, msgspec.Meta(max_length=1024)] | None = None
    """What to call it; else as its server or its address does."""


@post(
    "/upload/url",
    operation_id="uploadFromUrl",
    summary="Let the server fetch a file",
    opt=for_keys("uploads:write"),
    responses=problems(401, 404, 413, 422, 507),
    security=PROTECTED,
    tags=["uploads"],
)
async def upload_from_url(owner_id: OwnerId, services: TheServices, data: JSONBody[UrlUpload]) -> UploadView:
    """404 on a server that fetches nothing, which is the default. Only public addresses are asked."""
    runtime = services.runtime
    settings = runtime.settings.outbound
    if not settings.fetch_uploads:
        raise NotFound("This server fetches no files; send the file itself.")
    await runtime.quotas.require_room(runtime.pool, owner_id, 1)
    limit = largest(runtime.settings.api, data.file_type)
    async with remote_file(data.url, settings, limit) as remote:
        upload = await receive(runtime, owner_id, data.file_type, data.filename or remote.name, remote.chunks)
    return view(upload)
