"""Child's side of `media/previews.py`: one still picture of a video."""

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING

import av

from octavia_stream.errors import MediaRejected, MediaTooLarge
from octavia_stream.media import wire
from octavia_stream.media.child.copying import first_picture
from octavia_stream.media.child.opening import MEDIA_ERRORS, open_media

if TYPE_CHECKING:
    from av.container import InputContainer

_PACKETS = 2000
"""How many to look through for a picture."""
_FORMAT = "yuvj420p"
_QUALITY = 4
"""Of 2 (best) to 31."""


def picture(
    path: str, task: wire.PictureRequest, limits: wire.Limits, deliver: Callable[[bytes], None]
) -> wire.Picture:
    """Deliver a JPEG of a key frame at `at_s`, or of the first of all. Raises MediaRejected, MediaTooLarge."""
    with open_media(path) as container:
        stream = first_picture(container)
        if stream is None or stream.codec_context is None:
            raise MediaRejected("There is no picture in this file.")
        if stream.codec_context.width > limits.max_width or stream.codec_context.height > limits.max_height:
            raise MediaTooLarge("The picture is larger than this server takes.")
        stream.codec_context.thread_count = 1
        stream.codec_context.skip_frame = "NONKEY"
        frame = _frame(container, stream, task.at_s) or _frame(container, stream, 0.0)
        if frame is None:
            raise MediaRejected("Nothing of the picture can be decoded.")
        width = min(task.width, frame.width) // 2 * 2 or 2
        height = max(round(frame.height * width / frame.width) // 2 * 2, 2)
        deliver(_jpeg(frame, width, height))
    return wire.Picture(width, height)


def _frame(container: "InputContainer", stream: "av.VideoStream", at_s: float) -> "av.VideoFrame | None":
    with suppress(*MEDIA_ERRORS):
        container.seek(round(at_s * av.time_base))
    packets = islice(container.demux(stream), _PACKETS)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return None
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    return frame
        except MEDIA_ERRORS:
            # A damaged packet; the one after may be whole.
            continue


def _jpeg(frame: "av.VideoFrame", width: int, height: int) -> bytes:
    small = frame.reformat(width=width, height=height, format=_FORMAT)
    small.pts, small.time_base = 0, Fraction(1, 25)
    encoder = av.CodecContext.create("mjpeg", "w")
    if not isinstance(encoder, av.VideoCodecContext):
        raise TypeError("MJPEG is a picture")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, _FORMAT
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    encoder.options = {"qmin": str(_QUALITY), "qmax": str(_QUALITY)}
    return b"".join(bytes(packet) for packet in (*encoder.encode(small), *encoder.encode(None)))
