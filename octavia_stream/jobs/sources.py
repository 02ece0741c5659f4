"""What a job works on, fetched from where uploads lie."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

import msgspec

from octavia_stream.captions.subtitle_cue import MAX_BYTES
from octavia_stream.captions.subtitle_file import SubtitleFile, read_subtitles
from octavia_stream.config import MediaSettings
from octavia_stream.errors import InvalidRequest, NotFound, SubtitlesRejected
from octavia_stream.jobs.job import Job
from octavia_stream.media.cutter import Range, cut_media
from octavia_stream.media.info import AudioTrack, MediaInfo
from octavia_stream.media.muxer import SPLICED
from octavia_stream.media.probe import check_readable, probe, require_audio
from octavia_stream.runtime import Runtime


class Ranged(Protocol):
    """Options that may name a sound track, and a part of the file in seconds."""

    @property
    def audio_track(self) -> int | None: ...
    @property
    def start_s(self) -> float | None: ...
    @property
    def end_s(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class SourcePart:
    """A file on this machine, and which of its sound tracks is listened to."""

    path: Path
    info: MediaInfo
    track: AudioTrack
    whole: MediaInfo
    """Of the upload."""
    start_s: float | None
    """Where it begins in the upload, in seconds from its start; None: it is all of it."""

    @property
    def report(self) -> dict[str, object]:
        """What the job's report says of it."""
        return {} if self.start_s is None else {"start_s": round(self.start_s, 3)}


async def fetch_media(runtime: Runtime, upload_id: UUID, owner_id: UUID, scratch: Path) -> tuple[Path, MediaInfo]:
    """An upload as a file on this machine, and what it holds. Raises NotFound, StorageUnavailable, MediaRejected."""
    upload = await runtime.uploads.get(upload_id, owner_id)
    path = await _local(runtime, upload.key, scratch / "source")
    try:
        # It was looked at when it came, and nobody can change it; to look again delays the first words.
        info = msgspec.convert(upload.media_info, MediaInfo)
    except msgspec.ValidationError:
        # What another version of this server wrote down may look otherwise.
        return path, await probe(path, runtime.settings.media)
    await asyncio.to_thread(check_readable, path)
    return path, info


async def _local(runtime: Runtime, key: str, path: Path) -> Path:
    """An object as a file: where the store keeps it, or a copy at `path`."""
    local = runtime.objects.local_path(key)
    if local is not None:
        return local
    await runtime.objects.download(key, path)
    return path


async def fetch_results(runtime: Runtime, job: Job, number: int, scratch: Path) -> dict[str, Path]:
    """Dubs of a finished version of a job, as files on this machine by their names; those that can be had.

    Raises NotFound (there is no such version), StorageUnavailable.
    """
    folder = scratch / "earlier"
    folder.mkdir(exist_ok=True)
    found: dict[str, Path] = {}
    for artifact in (await runtime.versions.get(job.id, number)).artifacts:
        if artifact.name.rpartition(".")[2] not in SPLICED:
            continue
        with suppress(NotFound):
            path = await _local(runtime, artifact.key, folder / artifact.name)
            if await asyncio.to_thread(path.is_file):
                found[artifact.name] = path
    return found


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


async def listened_part(
    source: Path, info: MediaInfo, options: Ranged, scratch: Path, settings: MediaSettings, *, picture: bool
) -> SourcePart:
    """What is worked on of a file: the sound track asked for and, where only a part is wanted, that part by itself.

    Raises MediaRejected, InvalidRequest, StorageFull, EngineUnavailable.
    """
    track = choose_track(info, options.audio_track)
    if options.start_s is None and options.end_s is None:
        return SourcePart(source, info, track, info, None)
    folder = scratch / "part"
    folder.mkdir()
    wanted = Range(options.start_s or 0.0, options.end_s)
    cut = await cut_media(source, info, track, wanted, folder, settings, picture=picture)
    found = await probe(cut.path, settings)
    return SourcePart(cut.path, found, choose_track(found, None), info, cut.start_s)
