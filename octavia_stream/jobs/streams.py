"""The stream of a job in the object store: files by epoch, found through the newest master playlist."""

from contextlib import suppress
from uuid import UUID

from octavia_stream.errors import NotFound, OctaviaError
from octavia_stream.jobs.job import Claim
from octavia_stream.storage.objects import ObjectStore

_SUFFIX = ".m3u8"
CONTENT_TYPES = {
    "m3u8": "application/vnd.apple.mpegurl",
    "mp4": "video/mp4",
    "m4s": "video/iso.segment",
    "vtt": "text/vtt",
}


class JobStream:
    """`StreamStore` of the job a worker holds.

    The epoch is part of every key: a worker that lost its lease cannot touch its successor's stream.
    """

    def __init__(self, objects: ObjectStore, claim: Claim) -> None:
        self._objects = objects
        self._job_id = claim.job.id
        self._epoch = claim.epoch

    @property
    def base(self) -> str:
        return f"{self._epoch}/"

    async def put(self, name: str, content: bytes) -> None:
        await self._objects.put(file_key(self._job_id, self._epoch, name), content)

    async def announce(self, master: str) -> None:
        """Also removes the streams of workers that were lost."""
        await self._objects.put(f"{_masters(self._job_id)}/{self._epoch}{_SUFFIX}", master.encode())
        for epoch in await _epochs(self._objects, self._job_id):
            if epoch < self._epoch:
                # Who is gone did not finish it; what is left of it only costs space.
                with suppress(OctaviaError):
                    await self._objects.delete_prefix(f"{_root(self._job_id)}/{epoch}")


async def newest_master(objects: ObjectStore, job_id: UUID) -> str:
    """The key of the newest worker's master playlist. Raises NotFound."""
    epochs = await _epochs(objects, job_id)
    if not epochs:
        raise NotFound("The job has no stream, or none yet.")
    return f"{_masters(job_id)}/{max(epochs)}{_SUFFIX}"


def file_key(job_id: UUID, epoch: int, name: str) -> str:
    """Where a worker's file of the stream lies."""
    return f"{_root(job_id)}/{epoch}/{name}"


async def _epochs(objects: ObjectStore, job_id: UUID) -> list[int]:
    """Of the workers whose stream was announced."""
    names = [listed.key.rpartition("/")[2] async for listed in objects.list(_masters(job_id))]
    return [int(name.removesuffix(_SUFFIX)) for name in names]


def _root(job_id: UUID) -> str:
    return f"jobs/{job_id}/stream"


def _masters(job_id: UUID) -> str:
    return f"{_root(job_id)}/index"
