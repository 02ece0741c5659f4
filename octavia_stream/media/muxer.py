"""Picture and dubbed sound → file: the picture is copied packet for packet, in a jailed child."""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from octavia_stream.audio.chunk import Samples
from octavia_stream.config import MediaSettings
from octavia_stream.errors import MediaRejected, StorageFull
from octavia_stream.languages import Language, iso_639_2
from octavia_stream.media import wire
from octavia_stream.media.info import AudioTrack, MediaInfo
from octavia_stream.media.jail import STEP_S, Jail
from octavia_stream.media.wire import MuxResult

__all__ = ["SPLICED", "MuxPlan", "MuxResult", "Muxer", "Splice", "SubtitleTrack", "TimedText", "container_for"]

VIDEO_CONTAINERS = ("mp4", "mov", "mkv", "webm")
SPLICED = ("mp4", "mov", "m4a")
"""Containers in which a part of the dubbed sound can be exchanged for another."""
AUDIO_CONTAINERS = ("m4a", "mp3", "flac", "wav", "ogg")
CONTAINERS = (*VIDEO_CONTAINERS, *AUDIO_CONTAINERS)
_SLOWEST_COPY_BYTES_S = 5 * 1024**2
"""A disk slower than this is taken for stuck."""
_ENCODED_BYTES_S = 512 * 1024
"""More than any codec used here makes of a second of stereo sound, 32-bit WAV included."""
_WRITE_SAMPLES = 65_536
_AROUND_S = 1.0


class TimedText(Protocol):
    """A subtitle: seconds from the first sample of the dubbed track, and what is shown."""

    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...
    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class SubtitleTrack:
    """One soft subtitle track to be written."""

    language: Language
    title: str
    cues: Sequence[TimedText]
    """In order of start, none overlapping the next."""


@dataclass(frozen=True, slots=True)
class Splice:
    """A file that was written by such a plan, and the part in which the dubbed sound is another now.

    Positions in samples at the plan's rate.
    """

    earlier: Path
    start: int
    end: int

    def sent(self, length: int, rate_hz: int) -> tuple[int, int]:
        """What is to be written: more than is another, for an encoder begins badly, and a cut needs room."""
        around = round(_AROUND_S * rate_hz)
        return max(self.start - around, 0), min(self.end + around, length)


@dataclass(frozen=True, slots=True)
class MuxPlan:
    """What the new file holds."""

    container: str
    """As `container_for` gives it."""
    rate_hz: int
    """Of the samples that will be written; kept in the file where the codec can (Opus is always 48 kHz)."""
    channels: int
    language: Language
    """Of the dubbed track."""
    title: str
    source_track: AudioTrack
    """The original sound: the dub starts when it does."""
    keep_original: bool = True
    """Keep the original sound as second track, packet for packet."""
    original_title: str | None = None
    """None keeps the track's own title."""
    length: int | None = None
    """Samples per channel at `rate_hz` that the dubbed track must have: `DecodeReport.source_length` when `rate_hz` is
    the track's own. Shorter sound is padded with silence, longer is cut. None takes what comes; then an MP4 or MOV
    file ends exactly by its edit list, but FFmpeg, which does not read an end there, decodes up to 1,023 samples of
    padding more."""
    subtitles: tuple[SubtitleTrack, ...] = ()
    """New soft subtitle tracks; those of the source are kept beside them where the container can carry them."""
    splice: Splice | None = None
    """Take the dubbed track from a file made earlier, packet for packet, but for a part; only `Splice.sent` is written.
    Needs `length` and a container of SPLICED."""


class Muxer:
    """Writes one file; an async context manager. Without `close()` nothing appears at the output path.

    The child reads samples as the picture advances, so `write` waits, and memory is bounded.
    """

    def __init__(self, source: Path, output: Path, plan: MuxPlan, settings: MediaSettings) -> None:
        """
        source: file to copy picture and kept tracks from. output: path of the new file, replaced when finished.
        """
        if plan.channels not in (1, 2) or plan.container not in CONTAINERS:
            raise ValueError("dubbed sound has one or two channels and a container of `container_for`")
        self._source = source
        self._output = output
        self._plan = plan
        self._settings = settings
        self._directory: Path | None = None
        self._jail: Jail | None = None
        self._expected_bytes = 0

    @property
    def pid(self) -> int:
        """Process id of the jailed child."""
        return self._child.pid

    @property
    def _child(self) -> Jail:
        if self._jail is None:
            raise RuntimeError("the muxer is entered with `async with`")
        return self._jail

    async def __aenter__(self) -> Self:
        # Beside the output, so that the finished file only changes its name.
        self._directory = await asyncio.to_thread(_private_directory, self._output)
        try:
            size = (await asyncio.to_thread(self._source.stat)).st_size
            self._expected_bytes = 2 * size + self._settings.max_duration_s * _ENCODED_BYTES_S
            self._jail = Jail(
                _request(self._plan, self._output.name),
                self._settings,
                source=self._source,
                earlier=self._plan.splice.earlier if self._plan.splice else None,
                output_directory=self._directory,
                file_bytes=self._expected_bytes,
            )
            await self._jail.__aenter__()
        except BaseException as error:
            await self._remove()
            if isinstance(error, FileNotFoundError):
                raise MediaRejected("There is no such file.") from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._child.__aexit__(kind, error, traceback)
        finally:
            await self._remove()

    async def write(self, samples: Samples) -> None:
        """Append to the dubbed track: float32, shape (n, channels), or (n,) for one channel; any n.

        Raises StorageFull, MediaRejected, MediaTooLarge, EngineUnavailable: the file is then lost.
        """
        if samples.size != samples.shape[0] * self._plan.channels:
            raise ValueError("samples do not have the plan's channels")
        for start in range(0, samples.shape[0], _WRITE_SAMPLES):
            await self._child.write(samples[start : start + _WRITE_SAMPLES].astype("<f4", copy=False).tobytes())

    async def close(self) -> MuxResult:
        """No more samples: finish the file and put it in its place. Raises as `write` does."""
        await self._child.close_stdin()
        # What is left of the picture is copied now, and the index moved to the front.
        within_s = STEP_S + self._expected_bytes / _SLOWEST_COPY_BYTES_S
        result = await self._child.result(MuxResult, within_s)
        if self._directory is None:
            raise RuntimeError("the muxer is entered with `async with`")
        await asyncio.to_thread(_publish, self._directory / _file_name(self._output.name), self._output)
        return result

    async def _remove(self) -> None:
        if self._directory is not None:
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)


def container_for(info: MediaInfo, requested: str | None = None) -> str:
    """The container for a dub of this file: the requested one, or its own kind where dubs can be written in it.

    MP4, MOV, MKV and WebM stay; AVI, TS and others become MKV; sound alone stays WAV, FLAC, MP3, OGG or M4A.
    Raises MediaRejected when the request is unknown.
    """
    if requested is None:
        return _own_video_container(info) if info.video else _own_audio_container(info)
    wanted = requested.lower().lstrip(".")
    if wanted not in CONTAINERS:
        raise MediaRejected(f"{requested!r} cannot be written; choose one of {', '.join(CONTAINERS)}.")
    return wanted


def _own_video_container(info: MediaInfo) -> str:
    names = set(info.containers)
    if "mov" in names:
        return "mov" if info.brand == "qt" else "mp4"
    return "webm" if info.brand == "webm" else "mkv"


def _own_audio_container(info: MediaInfo) -> str:
    names = set(info.containers)
    if "mov" in names or "aac" in names:
        return "m4a"
    for name in ("wav", "flac", "mp3", "ogg"):
        if name in names:
            return name
    return "ogg" if "webm" in names else "m4a"


def _request(plan: MuxPlan, output_name: str) -> wire.MuxRequest:
    track = plan.source_track
    return wire.MuxRequest(
        output_name=_file_name(output_name),
        container=plan.container,
        rate_hz=plan.rate_hz,
        channels=plan.channels,
        start_s=track.start_s,
        length=plan.length,
        language=iso_639_2(plan.language),
        title=plan.title,
        picture=plan.container in VIDEO_CONTAINERS,
        original_index=track.index if plan.keep_original and plan.container in VIDEO_CONTAINERS else None,
        original_title=plan.original_title or track.title or "",
        subtitles=tuple(_cues(subtitles, track.start_s) for subtitles in plan.subtitles),
        splice=_splice(plan),
    )


def _splice(plan: MuxPlan) -> wire.Splice | None:
    if plan.splice is None:
        return None
    if plan.length is None or plan.container not in SPLICED:
        raise ValueError("a splice needs a length and a container of SPLICED")
    return wire.Splice(plan.splice.sent(plan.length, plan.rate_hz), (plan.splice.start, plan.splice.end))


def _cues(track: SubtitleTrack, start_s: float) -> wire.SubtitleCues:
    cues = tuple((start_s + cue.start_s, start_s + cue.end_s, cue.text) for cue in track.cues)
    return wire.SubtitleCues(iso_639_2(track.language), track.title, cues)


def _file_name(name: str) -> str:
    """A name without surprises for the child; the user's own comes back when the file is published."""
    return "output" + "".join(c for c in Path(name).suffix if c.isascii() and (c.isalnum() or c == "."))


def _private_directory(output: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=".mux-", dir=output.parent))
    except OSError as error:
        raise StorageFull("The result cannot be written where it should go.") from error


def _publish(finished: Path, output: Path) -> None:
    finished.chmod(0o644)
    finished.replace(output)
