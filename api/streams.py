"""The stream of a job: what is dubbed already, to be watched while the rest is made, and after."""

from typing import Annotated

from litestar import Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter
from litestar.response import Stream

from api.errors import problems
from api.identity import for_keys
from api.services import JobId, OwnerId, Services, TheServices
from octavia_stream.errors import NotFound
from octavia_stream.jobs.job import TERMINAL
from octavia_stream.jobs.streams import CONTENT_TYPES, file_key, newest_master

PLAYLIST = "m3u8"
ENDED = b"#EXT-X-ENDLIST\n"
_ANSWERS = {
    200: ResponseSpec(bytes, description="The file.", media_type="*/*", generate_examples=False),
    **problems(401, 404),
}
FileName = Annotated[
    str, PathParameter(pattern=r"^[a-z]+(-[a-z0-9]+)*\.[a-z0-9]{2,4}$", description="As a playlist says.")
]


@get(
    "/{job_id:uuid}/stream/index.m3u8",
    operation_id="streamJob",
    summary="Watch a job",
    opt=for_keys("jobs:read"),
    media_type="application/vnd.apple.mpegurl",
    responses=_ANSWERS,
)
async def stream_job(job_id: JobId, owner_id: OwnerId, services: TheServices) -> Response[bytes]:
    """The master playlist (HTTP Live Streaming) of a job created with `stream`; 404 until the event `stream`."""
    job = await services.runtime.jobs.get(job_id, owner_id)
    objects = services.runtime.objects
    return _playlist(await objects.get(await newest_master(objects, job)))


@get(
    "/{job_id:uuid}/stream/{epoch:int}/{name:str}",
    operation_id="streamJobFile",
    summary="A file of a stream",
    opt=for_keys("jobs:read"),
    media_type="application/octet-stream",
    responses=_ANSWERS,
)
async def stream_job_file(
    job_id: JobId,
    epoch: Annotated[int, PathParameter(ge=1, le=2**31 - 1, description="As the master playlist says.")],
    name: FileName,
    owner_id: OwnerId,
    services: TheServices,
) -> Response[bytes] | Stream:
    """Playlists grow until the job ends. Segments never change."""
    job = await services.runtime.jobs.get(job_id, owner_id)
    key, suffix = file_key(job_id, epoch, name), name.rpartition(".")[2]
    if suffix not in CONTENT_TYPES:
        raise NotFound("There is no such file in the stream.")
    if suffix == PLAYLIST:
        text = await services.runtime.objects.get(key)
        # A job that was cancelled or failed could not say so itself.
        return _playlist(text if job.status not in TERMINAL or text.endswith(ENDED) else text + ENDED)
    return await _segment(key, CONTENT_TYPES[suffix], services)


def _playlist(text: bytes) -> Response[bytes]:
    return Response(text, headers={"Content-Type": CONTENT_TYPES[PLAYLIST], "Cache-Control": "private, no-cache"})


async def _segment(key: str, content_type: str, services: Services) -> Stream:
    objects = services.runtime.objects
    headers = {
        "Content-Type": content_type,
        "Content-Length": str(await objects.size(key)),
        "Cache-Control": "private, max-age=86400, immutable",
    }
    return Stream(objects.stream(key), headers=headers)
