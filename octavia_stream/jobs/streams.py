"""The stream of a job in the object store: files by epoch, found through the newest master playlist."""

import re
from contextlib import suppress
from uuid import UUID

from octavia_stream.errors import NotFound, OctaviaError
from octavia_stream.jobs.job import Claim, Job
from octavia_stream.storage.objects import ObjectStore

_SUFFIX = ".m3u8"
_RESULT = re.compile(r"jobs/[^/]+/results/(?P<epoch>\d+)/")
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
        self._kept = _epoch_of_results(claim.job)

    @property
    def base(self) -> str:
        return f"{self._epoch}/"

    async def put(self, name: str, content: bytes) -> None:
        await self._objects.put(file_key(self._job_id, self._epoch, name), content)

    async def announce(self, master: str) -> None:
        """Also removes the streams of workers that were lost, but not that of the version there is."""
        await self._objects.put(f"{_masters(self._job_id)}/{self._epoch}{_SUFFIX}", master.encode())
        for epoch in await _epochs(self._objects, self._job_id):
            if epoch < self._epoch and epoch != self._kept:
                # Who is gone did not finish it; what is left of it only costs space.
                with suppress(OctaviaError):
                    await self._objects.delete_prefix(f"{_root(self._job_id)}/{epoch}")


async def newest_master(objects: ObjectStore, job: Job) -> str:
    """The key of the master playlist of the version there is, else that of the newest worker's. Raises NotFound."""
    epochs = await _epochs(objects, job.id)
    if not epochs:
        raise NotFound("The job has no stream, or none yet.")
    finished = _epoch_of_results(job)
    return f"{_masters(job.id)}/{finished if finished in epochs else max(epochs)}{_SUFFIX}"


def file_key(job_id: UUID, epoch: int, name: str) -> str:
    """Where a worker's file of the stream lies."""
    return f"{_root(job_id)}/{epoch}/{name}"


async def _epochs(objects: ObjectStore, job_id: UUID) -> list[int]:
    """Of the workers whose stream was announced."""
    names = [listed.key.rpartition("/")[2] async for listed in objects.list(_masters(job_id))]
    return [int(name.removesuffix(_SUFFIX)) for name in names]


def _epoch_of_results(job: Job) -> int | None:
    """Of the worker that made what the job has; None: it has nothing yet."""
    found = _RESULT.match(job.artifacts[0].key) if job.artifacts else None
    return int(found["epoch"]) if found else None


def _root(job_id: UUID) -> str:
    return f"jobs/{job_id}/stream"


def _masters(job_id: UUID) -> str:
    return f"{_root(job_id)}/index"
