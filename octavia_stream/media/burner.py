"""A finished dub → the same with its subtitles in the picture, which is encoded anew for that, in a jailed child."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import langcodes
import msgspec

from octavia_stream.config import MediaSettings
from octavia_stream.errors import MediaRejected
from octavia_stream.languages import Language
from octavia_stream.media import wire
from octavia_stream.media.jail import STEP_S, Jail
from octavia_stream.media.muxer import TimedText

_SCRIPTS = frozenset({"Latn", "Cyrl", "Grek", "Armn", "Geor"})
"""Those that the font has, and that need no more than one letter after another."""
_ENCODED_BYTES_S = 8 * 1024**2
"""More than a second of a large picture comes to."""
_SLOWEST_COPY_BYTES_S = 5 * 1024**2


def can_draw(language: Language) -> bool:
    """Whether there are letters for it."""
    return langcodes.Language.get(language).maximize().script in _SCRIPTS


def burned_name(dub: str) -> str:
    """`dub.mp4` → `dub.burned.mp4`. WebM has no place for H.264: Matroska takes it in."""
    stem, _, container = dub.rpartition(".")
    return f"{stem}.burned.{'mkv' if container == 'webm' else container}"


async def burn_in(
    source: Path,
    directory: Path,
    cues: Sequence[TimedText],
    start_s: float,
    duration_s: float,
    settings: MediaSettings,
    reached: Callable[[float], None],
) -> Path:
    """Write `burned_name` of the source into a folder that exists, with the sound as it is and without soft subtitles.

    start_s: where on the file's timeline the cues count from. duration_s: of the file. reached: called about once a
    second with how much is done, in seconds. Raises MediaRejected, MediaTooLarge, StorageFull, EngineUnavailable.
    """
    size = (await asyncio.to_thread(source.stat)).st_size
    name = burned_name(source.name)
    task = wire.BurnRequest(
        output_name=name,
        container=name.rpartition(".")[2],
        cues=tuple((start_s + cue.start_s, start_s + cue.end_s, cue.text) for cue in cues),
    )
    most = 2 * size + round(duration_s * _ENCODED_BYTES_S) + 1024**2
    async with Jail(task, settings, source=source, output_directory=directory, file_bytes=most) as jail:
        while True:
            # At the end the index of an MP4 file is put in front, which rewrites it.
            written = await asyncio.to_thread(_size, directory / name)
            kind, payload = await jail.frame(STEP_S + written / _SLOWEST_COPY_BYTES_S)
            match kind:
                case wire.FrameKind.REACHED:
                    reached(max(msgspec.json.decode(payload, type=wire.Reached).time_s - start_s, 0.0))
                case wire.FrameKind.RESULT:
                    return directory / name
                case _:
                    raise MediaRejected("The file made its decoder answer nonsense.")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
