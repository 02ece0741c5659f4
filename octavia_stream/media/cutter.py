"""A part of a file → a file of its own: packets copied as they are, in a jailed child."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from octavia_stream.config import MediaSettings
from octavia_stream.media import wire
from octavia_stream.media.info import AudioTrack, MediaInfo
from octavia_stream.media.jail import STEP_S, Jail

_NAME = "cut.mkv"
_SLOWEST_COPY_BYTES_S = 5 * 1024**2


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a file, in seconds from its start."""

    start_s: float = 0.0
    end_s: float | None = None
    """None: where the file ends."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What was cut out: one picture at most, one sound."""

    path: Path
    start_s: float
    """Where it begins in the source, in seconds from its start: the picture is not encoded anew, so at one that needs
    no other."""


async def cut_media(
    source: Path,
    info: MediaInfo,
    track: AudioTrack,
    part: Range,
    directory: Path,
    settings: MediaSettings,
    *,
    picture: bool,
) -> Cut:
    """Write the part into a folder that exists. picture: whether it is wanted; subtitles come with it.

    Raises MediaRejected (nothing is there), StorageFull, EngineUnavailable (the child was killed).
    """
    size = (await asyncio.to_thread(source.stat)).st_size
    task = wire.CutRequest(
        output_name=_NAME,
        audio_index=track.index,
        picture=picture,
        start_s=info.start_s + part.start_s,
        end_s=None if part.end_s is None else info.start_s + part.end_s,
    )
    jail = Jail(task, settings, source=source, output_directory=directory, file_bytes=2 * size + 1024**2)
    async with jail:
        done = await jail.result(wire.CutResult, STEP_S + size / _SLOWEST_COPY_BYTES_S)
    return Cut(directory / _NAME, done.start_s - info.start_s)
