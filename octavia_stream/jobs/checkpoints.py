"""Checkpoints of one job: rows say what is done, objects hold the results."""

import asyncio
import hashlib

from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.errors import NotFound
from octavia_stream.jobs.job import Claim
from octavia_stream.jobs.store import JobStore
from octavia_stream.storage.objects import ObjectStore
from octavia_stream.telemetry.metrics import CHUNK_RETRIES


class JobCheckpoints:
    """`Checkpoints` of the job a worker holds.

    The epoch is part of the key: a worker that lost its lease cannot overwrite what the next one saved.
    """

    def __init__(self, store: JobStore, objects: ObjectStore, claim: Claim) -> None:
        self._store = store
        self._objects = objects
        self._claim = claim

    async def load(self, stage: Stage, index: int, digest: str) -> bytes | None:
        """The saved payload, or None when there is none, it is gone, or its hash is not the one saved."""
        found = await self._store.chunk_result(self._claim.job.id, stage, index, digest)
        if found is None:
            return None
        key, sha256 = found
        try:
            payload = await self._objects.get(key)
        except NotFound:
            return None
        return payload if await asyncio.to_thread(_sha256, payload) == sha256 else None

    async def begin(self, stage: Stage, index: int, digest: str) -> None:
        if await self._store.begin_chunk(self._claim, stage, index, digest) > 1:
            CHUNK_RETRIES.labels(stage).inc()
        crash_point(CrashPoint.ATTEMPT_RECORDED)

    async def save(self, stage: Stage, index: int, digest: str, payload: bytes) -> None:
        key = f"jobs/{self._claim.job.id}/chunks/{stage}/{index}-{digest[:16]}-{self._claim.epoch}"
        stored = await self._objects.put(key, payload)
        crash_point(CrashPoint.CHECKPOINT_STORED)
        await self._store.finish_chunk(self._claim, stage, index, digest, key, stored.sha256)
        crash_point(CrashPoint.CHECKPOINT_RECORDED)


def _sha256(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()
