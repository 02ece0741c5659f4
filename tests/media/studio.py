"""Makes small media files with PyAV, for the cases that no file of tests/data shows, and looks at any of them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from numpy.typing import NDArray

from octavia_stream.config import MediaSettings
from octavia_stream.media import wire
from octavia_stream.media.child import decoding, probing
from octavia_stream.media.info import MediaInfo

DATA = Path(__file__).parent.parent / "data"
BURST_S = 0.02
"""Length of the beep that marks a position."""
_SETTINGS = MediaSettings()
_LIMITS = wire.Limits(
    memory_bytes=_SETTINGS.jail_memory_bytes,
    cpu_s=_SETTINGS.jail_cpu_s,
    file_bytes=0,
    max_duration_s=_SETTINGS.max_duration_s,
    max_streams=_SETTINGS.max_streams,
    max_width=_SETTINGS.max_width,
    max_height=_SETTINGS.max_height,
)


def burst_sound(rate_hz: int, channels: int, seconds: float, bursts: Sequence[float] = ()) -> NDArray[np.float32]:
    """Silence with loud beeps at these seconds, shape (n, channels)."""
    samples = np.zeros((round(seconds * rate_hz), channels), np.float32)
    beep = 0.6 * np.sin(2 * np.pi * 1000 * np.arange(round(BURST_S * rate_hz)) / rate_hz)
    for second in bursts:
        start = round(second * rate_hz)
        end = min(start + len(beep), len(samples))
        samples[start:end] += beep[: end - start, np.newaxis].astype(np.float32)
    return samples


def burst_starts(samples: NDArray[np.float32], rate_hz: int) -> list[float]:
    """Seconds at which beeps begin."""
    mono = samples if samples.ndim == 1 else samples[:, 0]
    loud = np.flatnonzero(np.abs(mono) > 0.15)
    if not len(loud):
        return []
    firsts = np.concatenate([[loud[0]], loud[1:][np.diff(loud) > 0.1 * rate_hz]])
    return [float(first) / rate_hz for first in firsts]


@dataclass(frozen=True)
class Sound:
    """A sound track to be made."""

    codec: str = "pcm_s16le"
    rate_hz: int = 48_000
    channels: int = 1
    layout: str | None = None
    seconds: float = 2.0
    start_s: float = 0.0
    bursts: tuple[float, ...] = (1.0,)
    """In seconds from the track's first sample."""
    jump: tuple[float, float] | None = None
    """(at, by): from this second on, timestamps are this much later (earlier, when negative)."""
    language: str | None = None
    default: bool = False
    """PyAV's own choice when False: the first."""


@dataclass(frozen=True)
class Picture:
    """A picture track to be made: moving noise, so that every packet differs."""

    codec: str = "libx264"
    seconds: float = 2.0
    start_s: float = 0.0
    width: int = 64
    height: int = 48
    times: tuple[float, ...] | None = None
    """Presentation times; None is 25 frames per second."""


class MakeMedia(Protocol):
    """Makes a file in the test's own directory."""

    def __call__(
        self, name: str, *tracks: Sound | Picture, format: str | None = None, options: dict[str, str] | None = None
    ) -> Path: ...


def write_media(path: Path, tracks: Sequence[Sound | Picture], format: str | None, options: dict[str, str]) -> None:
    """Encode and mux the tracks, in order of decoding time."""
    with av.open(str(path), "w", format=format, container_options=options) as output:
        writers = [_Writer(output, track) for track in tracks]
        packets = [packet for writer in writers for packet in writer.packets()]
        packets.sort(key=lambda packet: packet.dts * packet.time_base)
        for packet in packets:
            output.mux(packet)


class _Writer:
    def __init__(self, output: Any, track: Sound | Picture) -> None:
        self._track = track
        self._output = output
        if isinstance(track, Sound):
            self._stream = output.add_stream(track.codec, rate=track.rate_hz)
            self._stream.codec_context.layout = track.layout or {1: "mono", 2: "stereo", 6: "5.1"}[track.channels]
            self._stream.time_base = Fraction(1, track.rate_hz)
            if track.language:
                self._stream.metadata["language"] = track.language
            if track.default:
                self._stream.disposition = av.stream.Disposition.default
        else:
            options = {"bf": "2", "g": "12"} if track.codec == "libx264" else {}
            self._stream = output.add_stream(track.codec, rate=25, options=options)
            self._stream.width, self._stream.height = track.width, track.height
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = self._stream.time_base = Fraction(1, 1000)

    def packets(self) -> list[Any]:
        self._output.start_encoding()
        frames = self._sound() if isinstance(self._track, Sound) else self._picture()
        packets = [packet for frame in frames for packet in self._stream.encode(frame)]
        return [*packets, *self._stream.encode(None)]

    def _sound(self) -> Iterator[av.AudioFrame]:
        track = self._track
        assert isinstance(track, Sound)
        samples = burst_sound(track.rate_hz, track.channels, track.seconds, track.bursts)
        # Long silence in long frames, or a day of it would take minutes to make.
        size = track.rate_hz // 50 if track.seconds < 1_000 else 4_608
        for position in range(0, len(samples), size):
            block = np.ascontiguousarray(samples[position : position + size].T)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self._stream.codec_context.layout.name)
            frame.sample_rate = track.rate_hz
            late = track.jump[1] if track.jump and position >= round(track.jump[0] * track.rate_hz) else 0.0
            frame.pts = position + round((track.start_s + late) * track.rate_hz)
            frame.time_base = Fraction(1, track.rate_hz)
            yield frame

    def _picture(self) -> Iterator[av.VideoFrame]:
        track = self._track
        assert isinstance(track, Picture)
        noise = np.random.default_rng(7)
        times = track.times or tuple(n / 25 for n in range(round(track.seconds * 25)))
        for time in times:
            image = noise.integers(0, 255, (track.height, track.width, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            frame.pts = round((track.start_s + time) * 1000)
            frame.time_base = Fraction(1, 1000)
            yield frame


def packet_digests(path: Path, kind: str, nth: int = 0) -> list[str]:
    """SHA-256 of the payload of every packet of the nth track of a kind (`video`, `audio`)."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[nth]
        return [hashlib.sha256(bytes(packet)).hexdigest() for packet in container.demux(stream) if packet.size]


def packet_times(path: Path, kind: str, nth: int = 0) -> list[float]:
    """Presentation time of every packet, sorted."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[nth]
        return sorted(float(p.pts * p.time_base) for p in container.demux(stream) if p.size and p.pts is not None)


def decoded(path: Path, nth: int = 0) -> tuple[NDArray[np.float32], int, float]:
    """What an ordinary player decodes of a sound track: samples (n, channels), their rate, the first's time."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[nth]
        frames = list(container.decode(stream))
        layout = stream.codec_context.layout.name
        resampler = av.AudioResampler(format="flt", layout=layout, rate=frames[0].sample_rate)
        parts = [out for frame in [*frames, None] for out in resampler.resample(frame)]
        channels = len(stream.codec_context.layout.channels)
        samples = np.concatenate([part.to_ndarray().reshape(-1, channels) for part in parts if part is not None])
        return samples, frames[0].sample_rate, float(frames[0].time or 0.0)


def described(path: Path) -> MediaInfo:
    """What `probe` finds, without its jail and the time that takes: for files that the test has made itself."""
    return probing.probe(str(path), _LIMITS)


def decoded_here(
    path: Path, rate_hz: int = 16_000, channels: int = 1, nth: int = 0
) -> tuple[NDArray[np.float32], wire.Decoded]:
    """What `decode_audio` delivers of a sound track, and how it went; without a jail too."""
    track = described(path).audio[nth]
    task = wire.DecodeRequest(
        index=track.index, track_rate_hz=track.rate_hz, start_s=track.start_s, rate_hz=rate_hz, channels=channels
    )
    blocks: list[NDArray[np.float32]] = []
    report = decoding.decode(str(path), task, _LIMITS, blocks.append)
    samples = np.concatenate(blocks)
    return samples[:, 0] if channels == 1 else samples, report


def decoded_length(path: Path) -> int:
    """How long the corridor holds the first sound track to be, in samples at its own rate."""
    return decoded_here(path)[1].source_length
