"""Child's side of `media/probe.py`."""

import importlib
import pkgutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from octavia_stream.errors import MediaRejected, MediaTooLarge
from octavia_stream.media import wire
from octavia_stream.media.child.opening import MEDIA_ERRORS, open_media
from octavia_stream.media.info import AudioTrack, MediaInfo, SubtitleTrack, VideoTrack

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

_SCAN_PACKETS = 5000
"""How far to look for the first sound of every track: minutes of an ordinary film."""
_SCAN_BYTES = 64 * 1024**2
_BRANDED_HEADER_BYTES = 64
_PROGRAMS = {"av.__main__", "av.datasets"}
"""Parts of PyAV that are not for use as a library."""
_ATTACHED = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails


def warm_up() -> None:
    """Touch what Python loads lazily, before files of its own are out of reach."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name not in _PROGRAMS:
            importlib.import_module(module.name)
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 16), np.float32), format="fltp", layout="mono")
    frame.sample_rate = 8000
    av.AudioResampler(format="flt", layout="stereo", rate=8000, options={"rematrix_maxval": "1"}).resample(frame)


def probe(path: str, limits: wire.Limits) -> MediaInfo:
    """Look at the tracks. Raises MediaRejected, MediaTooLarge."""
    with open_media(path) as container:
        if len(container.streams) > limits.max_streams:
            raise MediaTooLarge(
                f"The file has {len(container.streams)} tracks; this server takes up to {limits.max_streams}."
            )
        duration_s = _claimed_duration_s(container)
        if duration_s > limits.max_duration_s:
            raise MediaTooLarge(
                f"The file is {_spoken(duration_s)} long; this server takes up to {_spoken(limits.max_duration_s)}."
            )
        video, picture_warnings = _video_track(container.streams, limits)
        tracks, sound_warnings = _audio_tracks(container)
        if video is None and not tracks:
            raise MediaRejected("The file holds neither sound nor picture that can be read.")
        return MediaInfo(
            containers=tuple(container.format.name.split(",")),
            brand=_brand(container, path),
            duration_s=duration_s,
            start_s=(container.start_time or 0) / av.time_base,
            size=container.size,
            video=video,
            audio=tracks,
            subtitles=tuple(_subtitle_track(stream) for stream in container.streams.subtitles),
            warnings=(*picture_warnings, *sound_warnings),
        )


def _spoken(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{seconds:.0f} s"


def _claimed_duration_s(container: "InputContainer") -> float:
    claims = [container.duration / av.time_base] if container.duration else []
    claims += [float(s.duration * s.time_base) for s in container.streams if s.duration and s.time_base]
    return max([claim for claim in claims if claim > 0], default=0.0)


def _brand(container: "InputContainer", path: str) -> str | None:
    if "mov" in container.format.name:
        return container.metadata.get("major_brand", "").strip() or None
    if "matroska" in container.format.name:
        with Path(path).open("rb") as file:
            return "webm" if b"webm" in file.read(_BRANDED_HEADER_BYTES) else "matroska"
    return None


def _video_track(streams: Iterable["Stream"], limits: wire.Limits) -> tuple[VideoTrack | None, list[str]]:
    warnings = []
    for stream in streams:
        if not isinstance(stream, av.VideoStream) or stream.disposition & _ATTACHED:
            continue
        context = stream.codec_context
        if context is None or not context.width:
            warnings.append("The picture is in a form that cannot be read; it is left out.")
            continue
        if context.width > limits.max_width or context.height > limits.max_height:
            raise MediaTooLarge(
                f"The picture is {context.width}×{context.height}; "
                f"this server takes up to {limits.max_width}×{limits.max_height}."
            )
        rate = float(stream.average_rate or 0)
        return VideoTrack(stream.index, _codec(stream), context.width, context.height, rate), warnings
    return None, warnings


def _audio_tracks(container: "InputContainer") -> tuple[tuple[AudioTrack, ...], list[str]]:
    streams = [s for s in container.streams.audio if s.codec_context is not None]
    unknown = len(container.streams.audio) - len(streams)
    warnings = [f"{unknown} sound track(s) are in a form that cannot be read."] if unknown else []
    heard, ended = _first_frames(container, streams)
    tracks = []
    for stream in streams:
        frame = heard.get(stream.index)
        if frame is None and ended:
            warnings.append(f"Nothing in sound track {stream.index} can be decoded.")
            continue
        track = _audio_track(stream)
        if frame is not None:
            start_s = track.start_s if frame.time is None else frame.time
            layout = frame.layout
            track = replace(
                track, rate_hz=frame.sample_rate, channels=layout.nb_channels, layout=layout.name, start_s=start_s
            )
        tracks.append(track)
    return tuple(tracks), warnings


def _first_frames(
    container: "InputContainer", streams: list["av.AudioStream"]
) -> tuple[dict[int, "av.AudioFrame"], bool]:
    """The first decoded frame of each stream by index, and whether the end was reached in search of them."""
    heard: dict[int, av.AudioFrame] = {}
    missing = {stream.index for stream in streams}
    if not missing:
        return heard, True
    scanned = 0
    # A container may break off; what was heard until then counts.
    with suppress(*MEDIA_ERRORS):
        for count, packet in enumerate(container.demux(streams)):
            scanned += packet.size
            if not missing or count > _SCAN_PACKETS or scanned > _SCAN_BYTES:
                return heard, not missing
            if packet.stream_index in missing:
                with suppress(*MEDIA_ERRORS):
                    for frame in packet.decode():
                        if isinstance(frame, av.AudioFrame) and frame.samples:
                            heard[packet.stream_index] = frame
                            missing.discard(packet.stream_index)
                            break
    return heard, True


def _audio_track(stream: "av.AudioStream") -> AudioTrack:
    """What the header says."""
    time_base = stream.time_base or 0
    return AudioTrack(
        index=stream.index,
        codec=_codec(stream),
        rate_hz=stream.codec_context.sample_rate,
        channels=stream.codec_context.channels,
        layout=stream.codec_context.layout.name,
        language=stream.language if stream.language not in (None, "und") else None,
        title=stream.metadata.get("title"),
        default=bool(stream.disposition & av.stream.Disposition.default),
        start_s=float((stream.start_time or 0) * time_base),
        duration_s=float((stream.duration or 0) * time_base),
    )


def _subtitle_track(stream: "Stream") -> SubtitleTrack:
    language = stream.language if stream.language not in (None, "und") else None
    return SubtitleTrack(stream.index, _codec(stream), language, stream.metadata.get("title"))


def _codec(stream: "Stream") -> str:
    """The codec's name, not the decoder's: `opus`, `vp9`."""
    context = stream.codec_context
    return context.codec.canonical_name if context is not None else "unknown"
