"""Cues → packets of a soft subtitle track."""

from fractions import Fraction
from typing import TYPE_CHECKING

import av
from av.subtitles.stream import SubtitleStream

from octavia_stream.media import wire

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.stream import Stream

_CODECS = {"mp4": "mov_text", "mov": "mov_text", "mkv": "subrip", "webm": "webvtt"}
_TIME_BASE = Fraction(1, 1000)
_ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+
PlayResX: 384
PlayResY: 288

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
"""What FFmpeg's encoders make the sample description of mov_text from."""


class SubtitleWriter:
    """One soft subtitle track being written to `output`."""

    def __init__(self, output: "OutputContainer", container: str, track: wire.SubtitleCues) -> None:
        codec = _CODECS[container]
        self._mov_text = codec == "mov_text"
        stream: Stream = output.add_stream(codec) if self._mov_text else output.add_mux_stream(codec)
        if self._mov_text and isinstance(stream, SubtitleStream):
            stream.codec_context.subtitle_header = _ASS_HEADER
            stream.codec_context.time_base = _TIME_BASE
        stream.time_base = _TIME_BASE
        stream.metadata["language"] = track.language
        stream.metadata["title"] = stream.metadata["handler_name"] = track.title
        stream.disposition = av.stream.Disposition(0)
        self._stream = stream
        self._output = output
        self._cues = track.cues
        self._next = 0
        self._end_ms = 0

    def advance(self, until_s: float) -> None:
        """Write the cues that start before this time."""
        while self._next < len(self._cues) and self._cues[self._next][0] < until_s:
            self._write(*self._cues[self._next])
            self._next += 1

    def _write(self, start_s: float, end_s: float, text: str) -> None:
        start, end = max(round(start_s * 1000), self._end_ms), round(end_s * 1000)
        if end <= start or not text.strip():
            return
        self._end_ms = end
        data = text.strip().encode()
        packet: av.Packet[av.stream.Stream] = av.Packet(len(data).to_bytes(2, "big") + data if self._mov_text else data)
        packet.stream = self._stream
        packet.time_base = _TIME_BASE
        packet.pts = packet.dts = start
        packet.duration = end - start
        packet.is_keyframe = True
        self._output.mux(packet)
