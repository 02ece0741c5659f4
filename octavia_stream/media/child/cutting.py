"""Child's side of `media/cutter.py`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av

from octavia_stream.errors import MediaRejected
from octavia_stream.media import wire
from octavia_stream.media.child.copying import CopiedTrack, can_hold, first_picture
from octavia_stream.media.child.opening import MEDIA_ERRORS, open_media

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream

    StreamPacket = av.Packet[Stream]

_FORMAT = "matroska"
_KIND = "mkv"
"""Holds whatever can be read, and needs no index of what is left out."""
_MOST_HELD = 4096
"""Packets of sound that may come before the first picture."""


def cut(path: str, directory: str, task: wire.CutRequest) -> wire.CutResult:
    """Write the file. Raises MediaRejected, OSError."""
    target = Path(directory) / task.output_name
    with open_media(path) as source, av.open(f"file:{target}", "w", format=_FORMAT) as output:
        cutting = _Cutting(source, output, task)
        cutting.run()
    return wire.CutResult(start_s=cutting.begin_s, size=target.stat().st_size)


class _Cutting:
    """One file being cut: packets from a place where the picture can begin to the end asked for, from zero on."""

    def __init__(self, source: "InputContainer", output: "OutputContainer", task: wire.CutRequest) -> None:
        self._source = source
        self._task = task
        self._picture = first_picture(source) if task.picture else None
        sound = next((stream for stream in source.streams.audio if stream.index == task.audio_index), None)
        if sound is None:
            raise MediaRejected(f"The file has no sound track {task.audio_index}.")
        kept: list[Stream] = [sound] if self._picture is None else [self._picture, sound]
        if not all(can_hold(output, stream, _KIND) for stream in kept):
            raise MediaRejected("No part can be cut out of a file with these codecs; leave start_s and end_s out.")
        self._needed = {stream.index for stream in kept}
        if task.picture:
            kept += [stream for stream in source.streams.subtitles if can_hold(output, stream, _KIND)]
        self._tracks = {stream.index: CopiedTrack(output, stream, _KIND) for stream in kept}
        self._found: float | None = None
        self._first_picture_s = float("-inf")

    @property
    def begin_s(self) -> float:
        """Where on the file's timeline the cut begins."""
        return self._task.start_s if self._found is None else self._found

    def run(self) -> None:
        """Raises MediaRejected when there is nothing in the range."""
        if self._picture is not None:
            self._first_picture_s = self._last_picture_before_start(self._picture)
        self._seek()
        held: list[StreamPacket] = []
        for packet in self._packets():
            if self._found is None and not self._begins(packet):
                held.append(packet)
                if len(held) > _MOST_HELD:
                    break
                continue
            for earlier in held:
                self._take(earlier)
            held = []
            self._take(packet)
        if self._found is None:
            raise MediaRejected("There is nothing in this file between start_s and end_s.")

    def _seek(self) -> None:
        """To the start or before it: some formats land well before, or cannot seek at all."""
        try:
            self._source.seek(round(self._task.start_s * 1_000_000), backward=True)
        except MEDIA_ERRORS:
            self._source.seek(0)

    def _last_picture_before_start(self, picture: "Stream") -> float:
        """Where the last picture stands, of those no later than the start, that needs no other."""
        self._seek()
        found = float("-inf")
        try:
            for packet in self._source.demux(picture):
                time_s = _presented_s(packet)
                if time_s is not None and time_s > self._task.start_s:
                    break
                if time_s is not None and packet.is_keyframe:
                    found = time_s
        except MEDIA_ERRORS:
            # Broken before the start: what can be read begins where it does.
            pass
        return found

    def _begins(self, packet: "StreamPacket") -> bool:
        """Whether the cut can begin here: at a picture that needs no other, else at the first sound of the range."""
        time_s = _presented_s(packet)
        if time_s is None:
            return False
        if self._picture is not None:
            shown = packet.stream_index == self._picture.index and packet.is_keyframe
            starts = shown and time_s >= self._first_picture_s
        else:
            starts = packet.stream_index == self._task.audio_index and time_s + _length_s(packet) > self._task.start_s
        if starts:
            self._found = time_s
        return starts

    def _packets(self) -> "Iterator[StreamPacket]":
        """Packets of the kept tracks until the needed ones have passed the end."""
        going = set(self._needed)
        packets = self._source.demux([self._source.streams[index] for index in self._tracks])
        while going:
            try:
                packet = next(packets)
            except (StopIteration, *MEDIA_ERRORS):
                return
            if not packet.size or packet.time_base is None or packet.dts is None:
                continue
            if self._task.end_s is not None and float(packet.dts * packet.time_base) >= self._task.end_s:
                going.discard(packet.stream_index)
            else:
                yield packet

    def _take(self, packet: "StreamPacket") -> None:
        time_s = _presented_s(packet)
        if time_s is None or time_s < self.begin_s or packet.time_base is None:
            return
        shift = round(self.begin_s / packet.time_base)
        packet.dts = None if packet.dts is None else packet.dts - shift
        packet.pts = None if packet.pts is None else packet.pts - shift
        self._tracks[packet.stream_index].take(packet)


def _presented_s(packet: "StreamPacket") -> float | None:
    stamp = packet.pts if packet.pts is not None else packet.dts
    return None if stamp is None or packet.time_base is None else float(stamp * packet.time_base)


def _length_s(packet: "StreamPacket") -> float:
    return float((packet.duration or 0) * (packet.time_base or 0))
