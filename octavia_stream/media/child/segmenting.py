"""Child's side of `media/segmenter.py`: picture and two sounds, each as fragmented MP4 of its own, cut in segments."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from octavia_stream.audio.resampling import Resampler
from octavia_stream.errors import MediaTooLarge
from octavia_stream.media import wire
from octavia_stream.media.child.canvas import Canvas, add_encoded, demuxed
from octavia_stream.media.child.copying import CopiedTrack, can_hold, first_picture
from octavia_stream.media.child.encoding import codec_for
from octavia_stream.media.child.opening import MEDIA_ERRORS, open_media
from octavia_stream.media.child.pipes import ReadSamples
from octavia_stream.media.segments import FRAGMENT_S, LONGEST_S, SEGMENT_S, BoxReader, Segment, SegmentCutter, delayed

if TYPE_CHECKING:
    from av.stream import Stream

ReportPiece = Callable[[bytes, wire.StreamPiece], None]
_BLOCK_S = 0.25
_BITS_S_PER_CHANNEL = 64_000
_MOVFLAGS = "frag_keyframe+empty_moov+default_base_moof"
_LARGEST_SEGMENT_BYTES = 256 * 1024**2
_MOST_REORDERED = 16
"""More pictures than this no codec shows out of order."""
# Pictures that stand on later ones would be decoded before they are shown. Segments begin where key frames are forced.
_PICTURE_OPTIONS = {
    "preset": "veryfast",
    "crf": "23",
    "bf": "0",
    "g": "100000",
    "sc_threshold": "0",
    "forced-idr": "1",
    "rc-lookahead": "0",
}
_FINE = Fraction(1, 90_000)
_LAYOUTS = {1: "mono", 2: "stereo"}


def segment(path: str, task: wire.StreamRequest, read: ReadSamples, report: ReportPiece) -> wire.Streamed:
    """Report pieces until the sound ends. Raises MediaRejected, MediaTooLarge.

    read: the dub's channels, then the original's.
    """
    with open_media(path) as source:
        picture = _open_picture(source, task, report)
        # Pictures are decoded before they are shown. Counted from there, no time is negative, for which players differ.
        start_s = min(task.start_s, picture.start_s) if picture else task.start_s
        names: tuple[wire.Rendition, ...] = ("dub", "original")
        sounds = [_Sound(name, task, task.start_s - start_s, report) for name in names]
        if picture:
            picture.begin(start_s)
        block = round(_BLOCK_S * task.rate_hz)
        taken = 0
        while len(samples := read(block)):
            for index, sound in enumerate(sounds):
                sound.encode(samples[:, index * task.channels : (index + 1) * task.channels])
            taken += len(samples)
            if picture:
                picture.advance(task.start_s + taken / task.rate_hz)
        for sound in sounds:
            sound.finish()
        if picture:
            picture.advance(float("inf"))
            picture.finish()
    return wire.Streamed(picture=picture is not None)


def _open_picture(
    source: "av.container.InputContainer", task: wire.StreamRequest, report: ReportPiece
) -> "_CopiedPicture | _EncodedPicture | None":
    stream = first_picture(source) if task.picture else None
    if stream is None:
        return None
    return _EncodedPicture(source, stream, report) if task.encode else _CopiedPicture(source, stream, report)


class _Rendition:
    """One track on its way out: fragments of the muxer become pieces."""

    def __init__(self, name: wire.Rendition, report: ReportPiece, fragment_s: float) -> None:
        self._name = name
        self._report = report
        self._boxes = BoxReader()
        self._cutter = SegmentCutter()
        self._head = b""
        self._from_s: float | None = None
        self.delay_s = 0.0
        """How much later than the muxer believes everything is presented."""
        self.output = av.open(
            self._boxes,
            "w",
            format="mp4",
            container_options={
                "movflags": _MOVFLAGS,
                "frag_duration": str(round(fragment_s * 1_000_000)),
                "flush_packets": "1",
                "avoid_negative_ts": "disabled",
            },
        )

    def begin(self, lead_s: float = 0.0) -> None:
        """Write the head, which tells players what comes. lead_s: silence before the sound."""
        self.output.start_encoding()
        head = b"".join(box for _, box in self._boxes.boxes())
        self._report(head, wire.StreamPiece(self._name, head=True, duration_s=0.0, lead_s=lead_s))

    def took(self, time_s: float, stream: "Stream") -> None:
        """A packet of this decoding time went into the muxer, and what came before it may have come out."""
        if self._from_s is None:
            self._from_s = time_s
        self._collect(time_s, stream)

    def finish(self, end_s: float, stream: "Stream") -> None:
        """The track ends here: write what is left."""
        ticks = self._ticks(stream)
        self.output.close()
        self._collect(end_s, stream, ticks)
        self._send(self._cutter.finish())

    def _ticks(self, stream: "Stream") -> int:
        return round(self.delay_s / stream.time_base) if stream.time_base else 0

    def _collect(self, until_s: float, stream: "Stream", ticks: int | None = None) -> None:
        for kind, box in self._boxes.boxes():
            if kind == b"moof":
                self._head = delayed(box, self._ticks(stream) if ticks is None else ticks)
            elif kind == b"mdat":
                start_s = until_s if self._from_s is None else self._from_s
                self._send(self._cutter.push(max(until_s - start_s, 0.0), self._head + box))
                self._from_s = until_s

    def _send(self, segments: Iterator[Segment]) -> None:
        for segment in segments:
            if len(segment.content) > _LARGEST_SEGMENT_BYTES:
                raise MediaTooLarge("The picture takes more data a second than a stream can carry.")
            piece = wire.StreamPiece(self._name, head=False, duration_s=segment.duration_s)
            self._report(segment.content, piece)


class _CopiedPicture:
    """The source's picture, copied packet for packet."""

    def __init__(self, source: "av.container.InputContainer", stream: "av.VideoStream", report: ReportPiece) -> None:
        self._stream = stream
        self._rendition = _Rendition("picture", report, LONGEST_S)
        self._packets = self._read(source)
        self._next = next(self._packets, None)
        self._track: CopiedTrack | None = None
        self._end_s = 0.0

    @property
    def start_s(self) -> float:
        """When the first picture is decoded, on the file's timeline."""
        return _decoded_s(self._next) if self._next is not None else 0.0

    def begin(self, origin_s: float) -> None:
        """origin_s: the moment of the file that is the stream's zero."""
        self._rendition.delay_s = max(self.start_s - origin_s, 0.0)
        if can_hold(self._rendition.output, self._stream, "mp4"):
            self._track = CopiedTrack(self._rendition.output, self._stream, "mp4")
            self._rendition.begin()

    def advance(self, until_s: float) -> None:
        """Copy what is decoded before this moment of the file."""
        while self._next is not None and (time := _decoded_s(self._next)) < until_s:
            packet, self._next = self._next, next(self._packets, None)
            if self._track is not None:
                self._end_s = max(self._end_s, time + float((packet.duration or 0) * (packet.time_base or 0)))
                self._track.take(packet)
                self._rendition.took(time, self._track.stream)

    def finish(self) -> None:
        """Write what is left."""
        if self._track is not None:
            self._rendition.finish(self._end_s, self._track.stream)

    def _read(self, source: "av.container.InputContainer") -> Iterator["av.Packet[Stream]"]:
        """Packets with their times. Matroska leaves the first ones out where pictures are shown out of order."""
        timeless: list[av.Packet[Stream]] = []
        packets = source.demux([self._stream])
        while True:
            try:
                packet = next(packets)
            except (StopIteration, *MEDIA_ERRORS):
                # What breaks off ends the picture, as in the file that is muxed.
                return
            if packet.size and packet.dts is None and len(timeless) < _MOST_REORDERED:
                timeless.append(packet)
            elif packet.size and packet.dts is not None:
                step = max(packet.duration or 0, 1)
                for back, earlier in enumerate(reversed(timeless), start=1):
                    earlier.dts = packet.dts - back * step
                yield from timeless
                timeless.clear()
                yield packet


class _EncodedPicture:
    """The source's picture as H.264. A picture that cannot be decoded is left out; the one before stays."""

    def __init__(self, source: "av.container.InputContainer", stream: "av.VideoStream", report: ReportPiece) -> None:
        stream.codec_context.thread_count = 1
        self._source = stream
        self._rendition = _Rendition("picture", report, LONGEST_S)
        self._frames = _frames(source, stream)
        self._next = next(self._frames, None)
        self._canvas = Canvas(self._next) if self._next is not None else None
        self._stream: av.VideoStream | None = None
        self._key_s = float("-inf")
        self._end_s = 0.0

    @property
    def start_s(self) -> float:
        """When the first picture is shown, on the file's timeline."""
        return (self._next.time or 0.0) if self._next is not None else 0.0

    def begin(self, origin_s: float) -> None:
        """origin_s: the moment of the file that is the stream's zero."""
        self._rendition.delay_s = max(self.start_s - origin_s, 0.0)
        if self._canvas is not None:
            time_base = self._source.time_base or _FINE
            self._stream = add_encoded(self._rendition.output, self._source, self._canvas, time_base, _PICTURE_OPTIONS)
            self._rendition.begin()

    def advance(self, until_s: float) -> None:
        """Encode what is shown before this moment of the file."""
        while self._next is not None and (time := self._next.time or 0.0) < until_s:
            frame, self._next = self._next, next(self._frames, None)
            if self._stream is None or self._canvas is None:
                continue
            shown_s = float((frame.duration or 0) * (frame.time_base or 0))
            self._end_s = max(self._end_s, time + shown_s)
            drawn = self._canvas.drawn(frame)
            if time >= self._key_s + SEGMENT_S:
                self._key_s = time
                drawn.pict_type = PictureType.I
            self._mux(self._stream, self._stream.encode(drawn))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is not None:
            self._mux(self._stream, self._stream.encode(None))
            self._rendition.finish(self._end_s, self._stream)

    def _mux(self, stream: "av.VideoStream", packets: "list[av.Packet[av.VideoStream]]") -> None:
        for packet in packets:
            time_s = float((packet.dts or 0) * (packet.time_base or 0))
            self._rendition.output.mux(packet)
            self._rendition.took(time_s, stream)


def _frames(source: "av.container.InputContainer", stream: "av.VideoStream") -> "Iterator[av.VideoFrame]":
    """Pictures in the order in which they are shown, each at a time of its own."""
    last: int | None = None
    for packet in demuxed(source, [stream]):
        try:
            frames = packet.decode()
        except MEDIA_ERRORS:
            # A damaged packet; the one after may be whole.
            continue
        for frame in frames:
            if not isinstance(frame, av.VideoFrame):
                continue
            # AVI says only when a picture is decoded.
            pts = frame.pts if frame.pts is not None else frame.dts
            if pts is None:
                continue
            frame.pts = pts if last is None else max(pts, last + 1)
            last = frame.pts
            yield frame


def _decoded_s(packet: "av.Packet[Stream]") -> float:
    return float((packet.dts or 0) * (packet.time_base or 0))


class _Sound:
    """One sound, encoded as AAC. The encoder's priming is left out: packets start exactly when the sound does,
    and no player needs an edit list, which few of them read in streams."""

    def __init__(self, name: wire.Rendition, task: wire.StreamRequest, lead_s: float, report: ReportPiece) -> None:
        """lead_s: silence before the first sample, where the picture starts earlier."""
        codec = codec_for("m4a", task.rate_hz)
        self._rendition = _Rendition(name, report, FRAGMENT_S)
        self._rate_hz = codec.rate_hz
        self._layout = _LAYOUTS[task.channels]
        self._time_base = Fraction(1, codec.rate_hz)
        stream = self._rendition.output.add_stream("aac", rate=codec.rate_hz, options={"aac_coder": "fast"})
        if not isinstance(stream, av.AudioStream):
            raise TypeError("AAC is sound")
        self._stream = stream
        self._stream.codec_context.layout = self._layout
        self._stream.codec_context.time_base = self._stream.time_base = self._time_base
        self._stream.codec_context.bit_rate = _BITS_S_PER_CHANNEL * task.channels
        self._rendition.begin(lead_s)
        self._resampler = Resampler(task.rate_hz, codec.rate_hz, task.channels)
        self._length = 0
        self._push(np.zeros((round(lead_s * codec.rate_hz), task.channels), np.float32))

    def encode(self, samples: NDArray[np.float32]) -> None:
        """Append, shape (n, channels)."""
        self._push(self._resampler.push(np.ascontiguousarray(samples)))

    def finish(self) -> None:
        """Write what the encoder still holds; its last packet is filled up with silence."""
        self._push(self._resampler.finish())
        if self._length:
            self._mux(self._stream.encode(None))
        self._rendition.finish(self._length / self._rate_hz, self._stream)

    def _push(self, samples: NDArray[np.float32]) -> None:
        if not len(samples):
            return
        planes = np.ascontiguousarray(np.clip(samples, -1.0, 1.0).T)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=self._layout)
        frame.sample_rate = self._rate_hz
        frame.time_base = self._time_base
        frame.pts = self._length
        self._length += len(samples)
        self._mux(self._stream.encode(frame))

    def _mux(self, packets: list["av.Packet[av.AudioStream]"]) -> None:
        for packet in packets:
            if packet.pts is not None and packet.pts >= 0:
                time_s = packet.pts / self._rate_hz
                self._rendition.output.mux(packet)
                self._rendition.took(time_s, self._stream)
