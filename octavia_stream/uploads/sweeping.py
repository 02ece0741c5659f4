"""What uploads that were never finished leave behind, removed."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog

from octavia_stream.storage.objects import ObjectStore
from octavia_stream.uploads.resumable import ResumableUploads, parts_prefix

AT_ONCE = 100
STALE = timedelta(days=1)
"""A part that nobody wrote to for so long was left by somebody who was killed."""

log = structlog.get_logger()


class UploadSweep:
    """Ends what nobody will end any more."""

    def __init__(
        self, resumable: ResumableUploads, objects: ObjectStore, remove_objects: Callable[[], Awaitable[int]]
    ) -> None:
        """remove_objects: deletes what was asked to be deleted and is still there."""
        self._resumable = resumable
        self._objects = objects
        self._remove_objects = remove_objects

    async def sweep(self) -> None:
        """Raises DependencyUnavailable, StorageUnavailable; what is left goes the next time."""
        expired = 0
        while ended := await self._resumable.delete_expired(AT_ONCE):
            expired += len(ended)
            for upload_id in ended:
                await self._objects.delete_prefix(parts_prefix(upload_id))
        removed = await self._remove_objects()
        parts = await self._objects.remove_leftover_parts(datetime.now(UTC) - STALE)
        if expired or removed or parts:
            log.info("swept", expired_uploads=expired, objects=removed, parts=parts)
