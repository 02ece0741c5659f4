"""Short links: one file, for a while, without a session. For players, which send no header, and for letters.

A link says what it opens and until when, signed with the server's secret; nobody keeps a list of them. It opens nothing
any more when its time is over, or when the job or the upload is gone. Where files lie in a bucket it leads there.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, get, head, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, PathParameter
from litestar.response import Stream

from api.auth import PROTECTED, PUBLIC
from api.downloads import Download, FileView, Wanted, answer_with, download_of, result_of
from api.errors import problems
from api.identity import for_keys
from api.link_tokens import Opens
from api.services import JobId, OwnerId, Services, TheServices, UploadId

DAY_S = 86_400
LONGEST_S = 7 * DAY_S
REDIRECT_S = 600
"""How long the address at a bucket is good for."""

Token = Annotated[str, PathParameter(max_length=512, pattern=r"^[A-Za-z0-9_-]+$", description="As it was given out.")]


class LinkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a link shall open."""

    artifact: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    """A name out of the job's `artifacts`; the dub without it. Of an upload: nothing."""
    expires_in_s: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_S)] = DAY_S
    inline: bool = False
    """Let browsers show it instead of saving it."""


class Link(msgspec.Struct, frozen=True):
    """A link that was made."""

    url: str
    """With the server's public address, where that is set; else a path."""
    expires_at: datetime


@post(
    "/jobs/{job_id:uuid}/links",
    operation_id="linkJob",
    summary="A link to a result",
    opt=for_keys("jobs:read"),
    responses=problems(401, 404, 409),
    security=PROTECTED,
    tags=["jobs"],
)
async def link_job(job_id: JobId, owner_id: OwnerId, services: TheServices, data: JSONBody[LinkRequest]) -> Link:
    """Whoever has it can fetch this one file until it expires."""
    file = await result_of(services, job_id, owner_id, Wanted(data.artifact, None))
    return _link(services, Opens("job", owner_id, job_id, 0, data.inline, file.artifact), data.expires_in_s)


@post(
    "/uploads/{upload_id:uuid}/links",
    operation_id="linkUpload",
    summary="A link to an upload",
    opt=for_keys("uploads:write"),
    responses=problems(401, 404),
    security=PROTECTED,
    tags=["uploads"],
)
async def link_upload(
    upload_id: UploadId, owner_id: OwnerId, services: TheServices, data: JSONBody[LinkRequest]
) -> Link:
    """Whoever has it can fetch the file until it expires."""
    await services.runtime.uploads.get(upload_id, owner_id)
    return _link(services, Opens("upload", owner_id, upload_id, 0, data.inline), data.expires_in_s)


_ANY = "*/*"
_OPENED = {
    200: ResponseSpec(bytes, description="The whole file.", media_type=_ANY, generate_examples=False),
    206: ResponseSpec(bytes, description="The part asked for.", media_type=_ANY, generate_examples=False),
    304: ResponseSpec(None, description="The client has this version.", generate_examples=False),
    307: ResponseSpec(None, description="The file is in a bucket, at this address.", generate_examples=False),
    **problems(403, 404, 409, 416),
}


@get(
    "/links/{token:str}",
    operation_id="openLink",
    summary="Follow a link",
    opt=PUBLIC,
    media_type="application/octet-stream",
    responses=_OPENED,
    tags=["jobs"],
)
async def open_link(request: Request[Any, None, Any], token: Token, services: TheServices) -> Stream | Response[bytes]:
    """The file, or a part of it (`Range`). 403 when the link has expired; 404 when it is none, or the file is gone."""
    file, download = await _opened(request, token, services)
    answer = {name: download.headers[name] for name in ("Content-Type", "Content-Disposition")}
    elsewhere = services.runtime.objects.signed_url(file.key, REDIRECT_S, answer)
    if elsewhere is not None:
        headers = {"Location": elsewhere, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        return Response(b"", status_code=307, headers=headers)
    return answer_with(request, download, services)


@head(
    "/links/{token:str}",
    operation_id="openLinkHead",
    summary="What a link opens",
    opt=PUBLIC,
    responses={**_OPENED, 200: ResponseSpec(None, description="It opens this.", generate_examples=False)},
    tags=["jobs"],
)
async def open_link_head(request: Request[Any, None, Any], token: Token, services: TheServices) -> Response[None]:
    """The headers of the same GET where no bucket answers it."""
    _, download = await _opened(request, token, services)
    return Response(None, status_code=download.status, headers=download.headers)


async def _opened(request: Request[Any, None, Any], token: str, services: Services) -> tuple[FileView, Download]:
    opens = services.links.unseal(token)
    file = await _file(opens, services)
    download = download_of(request, file)
    disposition = download.headers["Content-Disposition"]
    if opens.inline and file.content_type.startswith(("audio/", "video/", "image/")):
        disposition = disposition.replace("attachment", "inline", 1)
    safe = {"Content-Disposition": disposition, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    return file, replace(download, headers=download.headers | safe)


async def _file(opens: Opens, services: Services) -> FileView:
    if opens.kind == "job":
        return await result_of(services, opens.its_id, opens.owner_id, Wanted(opens.artifact, None))
    upload = await services.runtime.uploads.get(opens.its_id, opens.owner_id)
    return FileView(upload.key, upload.filename, upload.content_type, upload.size, upload.sha256)


def _link(services: Services, opens: Opens, seconds: int) -> Link:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    token = services.links.seal(msgspec.structs.replace(opens, until=int(until.timestamp())))
    public = (services.runtime.settings.api.public_url or "").rstrip("/")
    return Link(f"{public}/api/v1/links/{token}", until)


link_router = Router("", route_handlers=[link_job, link_upload, open_link, open_link_head])
