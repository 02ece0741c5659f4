"""What a job works on, fetched from where uploads lie."""

import asyncio
from pathlib import Path
from uuid import UUID

from octavia_stream.captions.subtitle_cue import MAX_BYTES
from octavia_stream.captions.subtitle_file import SubtitleFile, read_subtitles
from octavia_stream.errors import InvalidRequest, SubtitlesRejected
from octavia_stream.media.info import AudioTrack, MediaInfo
from octavia_stream.media.probe import require_audio
from octavia_stream.runtime import Runtime


async def fetch_media(runtime: Runtime, upload_id: UUID, owner_id: UUID, scratch: Path) -> Path:
    """An upload as a file on this machine. Raises NotFound, StorageUnavailable."""
    upload = await runtime.uploads.get(upload_id, owner_id)
    local = runtime.objects.local_path(upload.key)
    if local is not None:
        return local
    path = scratch / "source"
    await runtime.objects.download(upload.key, path)
    return path


async def fetch_subtitles(runtime: Runtime, upload_id: UUID, owner_id: UUID) -> SubtitleFile:
    """An upload read as subtitles. Raises NotFound, StorageUnavailable, SubtitlesRejected, MediaTooLarge."""
    upload = await runtime.uploads.get(upload_id, owner_id)
    if upload.size > MAX_BYTES:
        raise SubtitlesRejected("This is no subtitle file: it is too large.")
    content = await runtime.objects.get(upload.key)
    return await asyncio.to_thread(read_subtitles, content)


def choose_track(info: MediaInfo, wanted: int | None) -> AudioTrack:
    """The audio track to listen to: the one asked for, else the default one. Raises MediaRejected, InvalidRequest.

    wanted: counts the sound tracks from 0.
    """
    tracks = require_audio(info)
    if wanted is None:
        return info.default_audio or tracks[0]
    if not 0 <= wanted < len(tracks):
        raise InvalidRequest(f"The file has {len(tracks)} audio tracks, counted from 0; there is no {wanted}.")
    return tracks[wanted]
