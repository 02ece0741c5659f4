"""A file that has arrived in the object store, by whichever door: looked at in the jail, then recorded."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec

from octavia_stream.captions.subtitle_cue import MAX_BYTES as MAX_SUBTITLE_BYTES
from octavia_stream.captions.subtitle_file import CONTENT_TYPES, read_subtitles
from octavia_stream.config import ApiSettings
from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import InvalidRequest, MediaRejected, MediaTooLarge
from octavia_stream.media.info import MediaInfo
from octavia_stream.media.probe import probe, require_audio
from octavia_stream.runtime import Runtime
from octavia_stream.uploads.subtitle_info import SubtitleInfo, is_subtitle_file, subtitle_info
from octavia_stream.uploads.upload import Upload, upload_key

UNNAMED = "upload"

FileType: TypeAlias = Literal["video", "audio", "subtitle"]
Found: TypeAlias = MediaInfo | SubtitleInfo
"""What a file holds."""


async def receive(
    runtime: Runtime,
    owner_id: UUID,
    file_type: FileType,
    filename: str | None,
    chunks: AsyncIterator[bytes],
    created_by: UUID | None = None,
) -> Upload:
    """Store a file as it comes, look at it and record it; whatever goes wrong, no object stays behind.

    created_by: the account that brings it, when the owner is a team.
    Raises MediaRejected, MediaTooLarge, InvalidRequest, StorageFull, QuotaExceeded, and what `chunks` raises.
    """
    upload_id = uuid7()
    key = upload_key(upload_id)
    limit = largest(runtime.settings.api, file_type)
    try:
        stored = await runtime.objects.put_stream(key, _bounded(chunks, limit))
        found = await inspect(runtime, key, file_type)
        crash_point(CrashPoint.UPLOAD_STORED)
        return await runtime.uploads.add(
            upload_id,
            owner_id,
            filename or UNNAMED,
            content_type_of(found),
            size=stored.size,
            sha256=stored.sha256,
            key=key,
            media_info=msgspec.to_builtins(found),
            created_by=created_by,
        )
    except BaseException:
        # Also when the client left and this task is cancelled.
        await asyncio.shield(runtime.objects.delete(key))
        raise


def largest(settings: ApiSettings, file_type: FileType) -> int:
    """How many bytes a file of this type may have."""
    limit = settings.max_upload_bytes
    return min(limit, MAX_SUBTITLE_BYTES) if file_type == "subtitle" else limit


def too_large(limit: int) -> MediaTooLarge:
    """The refusal of a file of more than `limit` bytes."""
    return MediaTooLarge(f"The file is larger than {limit} bytes, the most this server accepts.")


async def inspect(runtime: Runtime, key: str, file_type: FileType) -> Found:
    """What the file holds. Raises MediaRejected when nothing can be done with it, or not as `file_type`."""
    if file_type == "subtitle":
        # No jail: what reads it is our own code, which allocates and waits in proportion to its few megabytes.
        content = await runtime.objects.get(key)
        return subtitle_info(await asyncio.to_thread(read_subtitles, content))
    async with as_file(runtime, key) as path:
        info = await probe(path, runtime.settings.media)
    require_audio(info)
    if file_type == "video" and info.video is None:
        raise MediaRejected("There is no picture in this file; upload it with file_type=audio.")
    return info


@asynccontextmanager
async def as_file(runtime: Runtime, key: str) -> AsyncIterator[Path]:
    """The object as a file on this machine: where the store keeps it, or a copy that is removed again."""
    local = runtime.objects.local_path(key)
    if local is not None:
        yield local
        return
    with tempfile.TemporaryDirectory(prefix="octavia-probe-") as directory:
        copy = Path(directory) / "media"
        await runtime.objects.download(key, copy)
        yield copy


def content_type_of(info: Found) -> str:
    """By what the file is, not by what it is called."""
    if isinstance(info, SubtitleInfo):
        return CONTENT_TYPES[info.format]
    kind = "audio" if info.video is None else "video"
    container = "quicktime" if (info.brand or "").strip() == "qt" else info.containers[0]
    subtype = {"mov": "mp4", "matroska": "x-matroska", "mp3": "mpeg", "aac": "aac"}.get(container, container)
    return f"{kind}/{subtype}"


def found_in(upload: Upload) -> Found:
    """What was found in a file when it came."""
    if is_subtitle_file(upload):
        return msgspec.convert(upload.media_info, SubtitleInfo)
    return msgspec.convert(upload.media_info, MediaInfo)


async def _bounded(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """The same chunks. Raises MediaTooLarge past `limit` bytes, InvalidRequest when there are none."""
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        if received > limit:
            raise too_large(limit)
        yield chunk
    if not received:
        raise InvalidRequest("The file is empty.")
