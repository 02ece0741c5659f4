"""What a file holds, and whether this server takes it."""

import asyncio
from pathlib import Path

from octavia_stream.config import MediaSettings
from octavia_stream.errors import MediaRejected
from octavia_stream.media import wire
from octavia_stream.media.info import AudioTrack, MediaInfo
from octavia_stream.media.jail import Jail

__all__ = ["AudioTrack", "MediaInfo", "probe", "require_audio"]

PROBE_CPU_S = 60
PROBE_WITHIN_S = 60.0


async def probe(path: Path, settings: MediaSettings) -> MediaInfo:
    """Open a file in a jail and look at its tracks; the first sounds of each are decoded, the rest is not read.

    Raises MediaRejected (not a media file, nothing in it decodes), MediaTooLarge (too long, too many tracks, too
    large a picture; by what the file claims, so decoding has its own limit), EngineUnavailable (the child was killed).
    """
    await asyncio.to_thread(check_readable, path)
    async with Jail(wire.ProbeRequest(), settings, source=path, cpu_s=PROBE_CPU_S) as jail:
        return await jail.result(MediaInfo, PROBE_WITHIN_S)


def require_audio(info: MediaInfo) -> tuple[AudioTrack, ...]:
    """The sound tracks, at least one. Raises MediaRejected when there is none."""
    if not info.audio:
        raise MediaRejected("The file has no sound that can be read, so there is nothing to translate.")
    return info.audio


def check_readable(path: Path) -> None:
    """Refuse, in a sentence, what is not a file with something in it. Raises MediaRejected."""
    try:
        if path.is_dir():
            raise MediaRejected("This is a directory, not a media file.")
        if not path.is_file():
            raise MediaRejected("There is no such file." if not path.exists() else "This is not a regular file.")
        with path.open("rb") as file:
            if not file.read(1):
                raise MediaRejected("The file is empty.")
    except OSError as error:
        raise MediaRejected("The file cannot be read: access is denied.") from error
