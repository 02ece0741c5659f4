"""Tracks of the source that are kept: copied packet for packet, or encoded anew when they cannot be."""

import io
from typing import TYPE_CHECKING

import av

from octavia_stream.media.child.decoding import Converter
from octavia_stream.media.child.encoding import MP4_FAMILY, SoundEncoder, codec_for
from octavia_stream.media.child.opening import MEDIA_ERRORS
from octavia_stream.media.child.timeline import Timeline

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream

_ATTACHED = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
_KEPT_METADATA = ("language", "title", "handler_name")
ORIGINAL = av.stream.Disposition.original
_WEBM_SOUND = {"opus", "vorbis"}
_TAGS = {"hevc": "hvc1"}
"""The name under which Apple's players accept H.265 in MP4, which FFmpeg does not choose by itself."""


def first_picture(source: "InputContainer") -> "av.VideoStream | None":
    """The picture that is kept: the first that is no cover art."""
    for stream in source.streams.video:
        if not stream.disposition & _ATTACHED and stream.codec_context is not None and stream.codec_context.width:
            return stream
    return None


def can_hold(output: "OutputContainer", source: "Stream", container: str) -> bool:
    """Whether the container takes the track as it is: a trial, for FFmpeg's own table promises too much."""
    if isinstance(source, av.AudioStream):
        name = _codec_name(source)
        # Few players know PCM in MP4, and FFmpeg writes it only for layouts that have a name.
        if (container == "webm" and name not in _WEBM_SOUND) or (container == "mp4" and name.startswith("pcm_")):
            return False
    try:
        with av.open(io.BytesIO(), "w", format=output.format.name) as trial:
            CopiedTrack(trial, source, container)
            trial.start_encoding()
    except MEDIA_ERRORS:
        return False
    return True


def _codec_name(source: "Stream") -> str:
    context = source.codec_context
    return context.codec.canonical_name if context is not None else "unknown"


class CopiedTrack:
    """A track whose packets go over as they are."""

    def __init__(self, output: "OutputContainer", source: "Stream", container: str) -> None:
        """Ask `can_hold` first."""
        self.stream = output.add_stream_from_template(source, opaque=True)
        for name in _KEPT_METADATA:
            if name in source.metadata:
                self.stream.metadata[name] = source.metadata[name]
        tag = _TAGS.get(_codec_name(source))
        if tag and container in MP4_FAMILY:
            self.stream.codec_context.codec_tag = tag
        self._output = output
        self._last_dts: int | None = None

    def take(self, packet: "av.Packet[Stream]") -> None:
        """Write a packet; its payload and presentation time stay, a decoding time that runs backwards is mended."""
        if packet.dts is not None and self._last_dts is not None and packet.dts <= self._last_dts:
            packet.dts = self._last_dts + 1
            packet.pts = None if packet.pts is None else max(packet.pts, packet.dts)
        if packet.pts is None:
            packet.pts = packet.dts
        self._last_dts = packet.dts if packet.dts is not None else self._last_dts
        packet.stream = self.stream
        self._output.mux(packet)

    def finish(self) -> None:
        """Nothing is held back."""


class ReencodedTrack:
    """The original sound in a codec that the container can hold; at most two channels."""

    def __init__(self, output: "OutputContainer", source: "av.AudioStream", container: str) -> None:
        context = source.codec_context
        channels = min(context.channels, 2)
        codec = codec_for(container, context.sample_rate)
        start_s = float((source.start_time or 0) * (source.time_base or 0))
        self._encoder = SoundEncoder(output, codec, channels, start_s)
        self.stream: Stream = self._encoder.stream
        for name in _KEPT_METADATA:
            if name in source.metadata:
                self.stream.metadata[name] = source.metadata[name]
        self.stream.disposition = ORIGINAL
        self._converter = Converter(codec.rate_hz, "mono" if channels == 1 else "stereo")
        self._timeline = Timeline(codec.rate_hz, channels)
        self._start_s = start_s

    def take(self, packet: "av.Packet[Stream]") -> None:
        """Decode and encode; a damaged packet becomes a gap."""
        try:
            frames = packet.decode()
        except MEDIA_ERRORS:
            return
        for frame in frames:
            if isinstance(frame, av.AudioFrame):
                position = self._position(frame)
                for laid in self._timeline.place(position, self._converter.convert(frame)):
                    self._encoder.encode(laid)

    def finish(self) -> None:
        """Write what decoder, converter and encoder still hold."""
        for laid in self._timeline.place(None, self._converter.flush()):
            self._encoder.encode(laid)
        self._encoder.finish()

    def _position(self, frame: "av.AudioFrame") -> int | None:
        if frame.time is None:
            return None
        return round((frame.time - self._start_s) * self._encoder.rate_hz)
