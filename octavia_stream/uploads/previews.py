"""Thumbnails and peaks of uploads: made when they are first asked for, and kept beside them."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec

from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.errors import NotFound
from octavia_stream.media.info import MediaInfo
from octavia_stream.media.previews import peaks, thumbnail
from octavia_stream.runtime import Runtime
from octavia_stream.uploads.arrival import as_file, found_in
from octavia_stream.uploads.upload import Upload

AT_ONCE = 2
"""Files that one process opens at a time to make a preview."""
_THUMBNAIL_AT = 0.1
"""Of the length: beginnings are often black."""


class Previews:
    """Methods raise NotFound where a file has none, MediaRejected, EngineUnavailable, StorageUnavailable."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._making = asyncio.Semaphore(AT_ONCE)

    async def thumbnail(self, upload: Upload) -> bytes:
        """A JPEG."""
        info = _media(upload)
        if info is None or info.video is None:
            raise NotFound("There is no picture in this upload.")
        at_s = info.duration_s * _THUMBNAIL_AT

        async def make() -> bytes:
            async with as_file(self._runtime, upload.key) as path:
                return await thumbnail(path, at_s, self._runtime.settings.media)

        return await self._kept(f"{previews_prefix(upload.id)}/thumbnail.jpg", make)

    async def peaks(self, upload: Upload) -> bytes:
        """JSON, of the default sound track."""
        info = _media(upload)
        if info is None or not info.audio:
            raise NotFound("There is no sound in this upload.")
        track = info.default_audio or info.audio[0]

        async def make() -> bytes:
            async with as_file(self._runtime, upload.key) as path:
                return msgspec.json.encode(await peaks(path, track, self._runtime.settings.media))

        return await self._kept(f"{previews_prefix(upload.id)}/peaks.json", make)

    async def remove(self, upload_id: UUID) -> None:
        """With the upload."""
        await self._runtime.objects.delete_prefix(previews_prefix(upload_id))

    async def _kept(self, key: str, make: Callable[[], Awaitable[bytes]]) -> bytes:
        objects = self._runtime.objects
        try:
            return await objects.get(key)
        except NotFound:
            async with self._making:
                if await objects.exists(key):
                    return await objects.get(key)
                content = await make()
            await objects.put(key, content)
            crash_point(CrashPoint.PREVIEW_STORED)
            return content


def previews_prefix(upload_id: UUID) -> str:
    """Below which they lie."""
    return f"previews/{upload_id}"


def _media(upload: Upload) -> MediaInfo | None:
    found = found_in(upload)
    return found if isinstance(found, MediaInfo) else None
