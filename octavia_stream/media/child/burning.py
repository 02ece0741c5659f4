"""Child's side of `media/burner.py`: the picture is decoded, drawn on and encoded anew; sound is copied."""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import av

from octavia_stream.errors import MediaRejected
from octavia_stream.media import wire
from octavia_stream.media.child.canvas import Canvas, add_encoded, demuxed, first_frame
from octavia_stream.media.child.copying import CopiedTrack, first_picture
from octavia_stream.media.child.encoding import MP4_FAMILY
from octavia_stream.media.child.lettering import Letterer
from octavia_stream.media.child.opening import MEDIA_ERRORS, open_media

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream

_FORMATS = {"mkv": "matroska"}
# Without pictures that stand on later ones, a picture is decoded when it is shown: times stay as they are. The jail
# gives no threads.
_OPTIONS = {"preset": "veryfast", "crf": "20", "bf": "0"}
_FOREIGN_METADATA = {"encoder", "major_brand", "minor_version", "compatible_brands", "creation_time", "duration"}
_TOLD_EVERY_S = 1.0


def burn(
    path: str, directory: str, task: wire.BurnRequest, letterer: Letterer, reached: Callable[[float], None]
) -> wire.Burned:
    """Write the file. reached: called about once a second with the place on the file's timeline.

    Raises MediaRejected, OSError.
    """
    target = Path(directory) / task.output_name
    first = first_frame(path)
    with (
        open_media(path) as source,
        av.open(
            f"file:{target}",
            "w",
            format=_FORMATS.get(task.container, task.container),
            container_options=_container_options(source, task.container),
        ) as output,
    ):
        burning = _Burning(source, output, task, Canvas(first, task.cues, letterer))
        burning.run(reached)
    return wire.Burned(frames=burning.frames, size=target.stat().st_size)


def _container_options(source: "InputContainer", container: str) -> dict[str, str]:
    if container not in MP4_FAMILY:
        return {}
    rates = [stream.codec_context.sample_rate for stream in source.streams.audio if stream.codec_context is not None]
    # As the muxer writes it: where the sound starts and ends is kept to the sample.
    return {"movflags": "faststart"} | ({"movie_timescale": str(rates[0])} if rates else {})


class _Burning:
    """One file being written."""

    def __init__(
        self, source: "InputContainer", output: "OutputContainer", task: wire.BurnRequest, canvas: Canvas
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
        self._encoder = add_encoded(output, picture, canvas, picture.time_base, _OPTIONS)
        for name in ("language", "title", "handler_name"):
            if name in picture.metadata:
                self._encoder.metadata[name] = picture.metadata[name]
        self._sounds: dict[int, CopiedTrack] = {}
        for stream in source.streams.audio:
            track = CopiedTrack(output, stream, task.container)
            track.stream.disposition = stream.disposition
            self._sounds[stream.index] = track
        output.set_chapters(source.chapters())

    def run(self, reached: Callable[[float], None]) -> None:
        """Picture and sounds to their ends."""
        told = time.monotonic()
        wanted: list[Stream] = [self._picture, *(self._source.streams[index] for index in self._sounds)]
        for packet in demuxed(self._source, wanted):
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
