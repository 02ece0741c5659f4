"""A picture that is encoded anew: decoded, brought into one form, and given to the encoder."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from octavia_stream.errors import MediaRejected
from octavia_stream.media.child.copying import first_picture
from octavia_stream.media.child.opening import MEDIA_ERRORS, open_media

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream

    from octavia_stream.media.child.lettering import Letterer, Stamp

PIXELS = "yuv420p"
"""What every player shows."""
_CODEC = "libx264"
"""The one encoder of H.264 in PyAV's wheels that needs no hardware; OpenH264 is not in them. It is GPL: see NOTICE."""
_UNSPECIFIED = 2
"""A colour space, primaries or transfer that nobody has named."""


def first_frame(path: str) -> "av.VideoFrame":
    """A picture that can be decoded: how large it is, and how it is turned. Raises MediaRejected."""
    with open_media(path) as container:
        stream = first_picture(container)
        if stream is None or stream.codec_context is None:
            raise MediaRejected("There is no picture in this file.")
        stream.codec_context.thread_count = 1
        for packet in demuxed(container, [stream]):
            with suppress(*MEDIA_ERRORS):
                for frame in packet.decode():
                    if isinstance(frame, av.VideoFrame):
                        return frame
    raise MediaRejected("Nothing of the picture can be decoded.")


def demuxed(source: "InputContainer", streams: "list[Stream]") -> "Iterator[av.Packet[Stream]]":
    """Packets until the first that cannot be read: what comes after a break is left out."""
    packets = source.demux(streams)
    while True:
        try:
            yield next(packets)
        except (StopIteration, *MEDIA_ERRORS):
            return


class Canvas:
    """Pictures brought into one size and form, upright, with the cue of their time."""

    def __init__(
        self,
        first: "av.VideoFrame",
        cues: tuple[tuple[float, float, str], ...] = (),
        letterer: "Letterer | None" = None,
    ) -> None:
        self._turns = round(first.rotation / 90) % 4
        self._lying = (first.width // 2 * 2 or 2, first.height // 2 * 2 or 2)
        self.width, self.height = self._lying[:: -1 if self._turns % 2 else 1]
        self.full_range = first.format.name == PIXELS and first.color_range == ColorRange.JPEG
        self._cues = [cue for cue in cues if cue[2].strip()]
        self._starts = [start for start, _, _ in self._cues]
        # Who draws nothing needs none.
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
        plain = frame.format.name == PIXELS and (frame.width, frame.height) == self._lying
        if not plain:
            frame = frame.reformat(width=width, height=height, format=PIXELS, dst_color_range=target)
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
        upright = av.VideoFrame(self.width, self.height, PIXELS)
        for new, old in zip(_planes(upright), _planes(frame), strict=True):
            new[:] = np.rot90(old, self._turns)
        return upright

    def _stamp(self, at_s: float) -> "Stamp | None":
        number = bisect_right(self._starts, at_s) - 1
        if number < 0 or at_s >= self._cues[number][1] or self._letterer is None:
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


def _lay(stamp: "Stamp", planes: list[NDArray[np.uint8]], full_range: bool) -> None:
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


def add_encoded(
    output: "OutputContainer",
    picture: "av.VideoStream",
    canvas: Canvas,
    time_base: Fraction,
    options: Mapping[str, str],
) -> "av.VideoStream":
    """The track of H.264 that takes what the canvas gives of a picture."""
    source = picture.codec_context
    stream = output.add_stream(_CODEC, rate=picture.average_rate or 25, options=dict(options))
    if not isinstance(stream, av.VideoStream):
        raise TypeError("H.264 is a picture")
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = canvas.width, canvas.height, PIXELS
    context.time_base = stream.time_base = time_base
    context.thread_count = 1
    aspect = picture.sample_aspect_ratio or source.sample_aspect_ratio
    if aspect:
        context.sample_aspect_ratio = 1 / aspect if canvas.sideways else aspect
    context.color_range = ColorRange.JPEG if canvas.full_range else ColorRange.MPEG
    context.color_primaries, context.color_trc = source.color_primaries, source.color_trc
    # Zero says RGB, which this is not any more.
    context.colorspace = source.colorspace or _UNSPECIFIED
    return stream
