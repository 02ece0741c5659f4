"""Child's side of `media/burner.py`: the picture is decoded, drawn on and encoded anew; sound is copied."""

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from octavia_stream.errors import MediaRejected
from octavia_stream.media import wire
from octavia_stream.media.child.copying import CopiedTrack, first_picture
from octavia_stream.media.child.encoding import MP4_FAMILY
from octavia_stream.media.child.lettering import Letterer, Stamp
from octavia_stream.media.child.opening import MEDIA_ERRORS, open_media

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream

_FORMATS = {"mkv": "matroska"}
_PIXELS = "yuv420p"
"""What every player shows."""
_CODEC = "libx264"
# Without pictures that stand on later ones, a picture is decoded when it is shown: times stay as they are. The jail
# gives no threads.
_OPTIONS = {"preset": "veryfast", "crf": "20", "bf": "0"}
_FOREIGN_METADATA = {"encoder", "major_brand", "minor_version", "compatible_brands", "creation_time", "duration"}
_UNSPECIFIED = 2
"""A colour space, primaries or transfer that nobody has named."""
_TOLD_EVERY_S = 1.0


def burn(
    path: str, directory: str, task: wire.BurnRequest, letterer: Letterer, reached: Callable[[float], None]
) -> wire.Burned:
    """Write the file. reached: called about once a second with the place on the file's timeline.

    Raises MediaRejected, OSError.
    """
    target = Path(directory) / task.output_name
    first = _first_frame(path)
    with (
        open_media(path) as source,
        av.open(
            f"file:{target}",
            "w",
            format=_FORMATS.get(task.container, task.container),
            container_options=_container_options(source, task.container),
        ) as output,
    ):
        burning = _Burning(source, output, task, _Canvas(first, task.cues, letterer))
        burning.run(reached)
    return wire.Burned(frames=burning.frames, size=target.stat().st_size)


def _container_options(source: "InputContainer", container: str) -> dict[str, str]:
    if container not in MP4_FAMILY:
        return {}
    rates = [stream.codec_context.sample_rate for stream in source.streams.audio if stream.codec_context is not None]
    # As the muxer writes it: where the sound starts and ends is kept to the sample.
    return {"movflags": "faststart"} | ({"movie_timescale": str(rates[0])} if rates else {})


def _first_frame(path: str) -> "av.VideoFrame":
    """A picture that can be decoded: how large it is, and how it is turned. Raises MediaRejected."""
    with open_media(path) as container:
        stream = first_picture(container)
        if stream is None or stream.codec_context is None:
            raise MediaRejected("There is no picture in this file.")
        stream.codec_context.thread_count = 1
        for packet in _demuxed(container, [stream]):
            with suppress(*MEDIA_ERRORS):
                for frame in packet.decode():
                    if isinstance(frame, av.VideoFrame):
                        return frame
    raise MediaRejected("Nothing of the picture can be decoded.")


def _demuxed(source: "InputContainer", streams: "list[Stream]") -> "Iterator[av.Packet[Stream]]":
    packets = source.demux(streams)
    while True:
        try:
            yield next(packets)
        except (StopIteration, *MEDIA_ERRORS):
            # What comes after a break is left out.
            return


class _Canvas:
    """Pictures brought into one size and form, upright, with the cue of their time."""

    def __init__(self, first: "av.VideoFrame", cues: tuple[tuple[float, float, str], ...], letterer: Letterer) -> None:
        self._turns = round(first.rotation / 90) % 4
        self._lying = (first.width // 2 * 2 or 2, first.height // 2 * 2 or 2)
        self.width, self.height = self._lying[:: -1 if self._turns % 2 else 1]
        self.full_range = first.format.name == _PIXELS and first.color_range == ColorRange.JPEG
        self._cues = [cue for cue in cues if cue[2].strip()]
        self._starts = [start for start, _, _ in self._cues]
        self._letterer = letterer
        self._stamps: tuple[int, Stamp] | None = None

    @property
    def sideways(self) -> bool:
        """Whether width and height changed places."""
        return bool(self._turns % 2)

    def drawn(self, frame: "av.VideoFrame") -> "av.VideoFrame":
        """The frame as it is encoded; its time stays. The frame given is not used any more."""
        pts, time_base, at_s = frame.pts, frame.time_base, frame.time
        width, height = self._lying
        target = ColorRange.JPEG if self.full_range else ColorRange.MPEG
        plain = frame.format.name == _PIXELS and (frame.width, frame.height) == self._lying
        if not plain:
            frame = frame.reformat(width=width, height=height, format=_PIXELS, dst_color_range=target)
        if self._turns:
            frame = self._turned(frame)
        stamp = None if at_s is None else self._stamp(at_s)
        if stamp is not None:
            # The decoder may still need it as it is.
            frame.make_writable()
            _lay(stamp, _planes(frame), self.full_range)
        frame.pts, frame.time_base = pts, time_base
        # Else the encoder would repeat the source's choice of key frames.
        frame.pict_type = PictureType.NONE
        return frame

    def _turned(self, frame: "av.VideoFrame") -> "av.VideoFrame":
        upright = av.VideoFrame(self.width, self.height, _PIXELS)
        for new, old in zip(_planes(upright), _planes(frame), strict=True):
            new[:] = np.rot90(old, self._turns)
        return upright

    def _stamp(self, at_s: float) -> Stamp | None:
        number = bisect_right(self._starts, at_s) - 1
        if number < 0 or at_s >= self._cues[number][1]:
            return None
        if self._stamps is None or self._stamps[0] != number:
            self._stamps = number, self._letterer.stamp(self._cues[number][2].strip(), self.width, self.height)
        return self._stamps[1]


def _planes(frame: "av.VideoFrame") -> list[NDArray[np.uint8]]:
    """Brightness, then two of colour at half the size; views of the frame, shape (rows, columns)."""
    return [
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in frame.planes
    ]


def _lay(stamp: Stamp, planes: list[NDArray[np.uint8]], full_range: bool) -> None:
    rows, columns = stamp.cover.shape
    black, white = (0, 255) if full_range else (16, 235)
    place = np.s_[stamp.top : stamp.top + rows, stamp.left : stamp.left + columns]
    planes[0][place] = _mixed(planes[0][place], black + (white - black) * stamp.ink, stamp.cover)
    cover = stamp.cover.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
    top, left = stamp.top // 2, stamp.left // 2
    place = np.s_[top : top + rows // 2, left : left + columns // 2]
    for plane in planes[1:]:
        plane[place] = _mixed(plane[place], np.full_like(cover, 128), cover)


def _mixed(under: NDArray[np.uint8], over: NDArray[np.float32], cover: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(under + (over - under) * cover).astype(np.uint8)


class _Burning:
    """One file being written."""

    def __init__(
        self, source: "InputContainer", output: "OutputContainer", task: wire.BurnRequest, canvas: _Canvas
    ) -> None:
        picture = first_picture(source)
        if picture is None or picture.time_base is None:
            raise MediaRejected("There is no picture in this file.")
        self._source = source
        self._output = output
        self._canvas = canvas
        self._picture = picture
        self._picture.codec_context.thread_count = 1
        self.frames = 0
        self._last_pts: int | None = None
        self._durations: deque[int] = deque()
        for name, value in source.metadata.items():
            if name not in _FOREIGN_METADATA:
                output.metadata[name] = value
        self._encoder = self._add_picture(picture.time_base)
        self._sounds: dict[int, CopiedTrack] = {}
        for stream in source.streams.audio:
            track = CopiedTrack(output, stream, task.container)
            track.stream.disposition = stream.disposition
            self._sounds[stream.index] = track
        output.set_chapters(source.chapters())

    def _add_picture(self, time_base: Fraction) -> "av.VideoStream":
        source, canvas = self._picture.codec_context, self._canvas
        stream = self._output.add_stream(_CODEC, rate=self._picture.average_rate or 25, options=dict(_OPTIONS))
        if not isinstance(stream, av.VideoStream):
            raise TypeError("H.264 is a picture")
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = canvas.width, canvas.height, _PIXELS
        context.time_base = stream.time_base = time_base
        context.thread_count = 1
        aspect = self._picture.sample_aspect_ratio or source.sample_aspect_ratio
        if aspect:
            context.sample_aspect_ratio = 1 / aspect if canvas.sideways else aspect
        context.color_range = ColorRange.JPEG if canvas.full_range else ColorRange.MPEG
        context.color_primaries, context.color_trc = source.color_primaries, source.color_trc
        # Zero says RGB, which this is not any more.
        context.colorspace = source.colorspace or _UNSPECIFIED
        for name in ("language", "title", "handler_name"):
            if name in self._picture.metadata:
                stream.metadata[name] = self._picture.metadata[name]
        return stream

    def run(self, reached: Callable[[float], None]) -> None:
        """Picture and sounds to their ends."""
        told = time.monotonic()
        wanted: list[Stream] = [self._picture, *(self._source.streams[index] for index in self._sounds)]
        for packet in _demuxed(self._source, wanted):
            # One without content ends a track, and has no number of its own.
            if packet.stream.index == self._picture.index:
                self._draw(packet)
            elif packet.size:
                self._sounds[packet.stream_index].take(packet)
            if packet.dts is not None and packet.time_base is not None and time.monotonic() - told > _TOLD_EVERY_S:
                told = time.monotonic()
                reached(float(packet.dts * packet.time_base))
        self._write(self._encoder.encode(None))

    def _draw(self, packet: "av.Packet[Stream]") -> None:
        try:
            frames = [frame for frame in packet.decode() if isinstance(frame, av.VideoFrame)]
        except MEDIA_ERRORS:
            # A damaged packet; the one after may be whole.
            return
        for frame in frames:
            if frame.pts is None:
                continue
            if self._last_pts is not None and frame.pts <= self._last_pts:
                frame.pts = self._last_pts + 1
            self._last_pts = frame.pts
            self._durations.append(frame.duration)
            self.frames += 1
            self._write(self._encoder.encode(self._canvas.drawn(frame)))

    def _write(self, packets: "list[av.Packet[av.VideoStream]]") -> None:
        for packet in packets:
            duration = self._durations.popleft()
            if duration:
                packet.duration = duration
            self._output.mux(packet)
