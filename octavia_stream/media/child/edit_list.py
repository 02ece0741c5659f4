"""The edit list of one MP4 track: which part of its samples is presented, and when.

FFmpeg's muxer forgets the encoder's priming when a track starts later than the file, so the entry it wrote is
corrected here, in place. Boxes: ISO/IEC 14496-12, 8.6.6 (elst), 8.3.2 (tkhd).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_HEADER = struct.Struct(">I4s")
_LARGE_SIZE = struct.Struct(">Q")
_FULL_BOX = struct.Struct(">B3sI")


@dataclass(frozen=True, slots=True)
class Edit:
    """What the track presents."""

    start: int
    """Nothing is presented before this; in the movie's time scale."""
    duration: int
    """Of what is presented; in the movie's time scale."""
    media_time: int
    """Where in the track it begins; in the track's time scale."""


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    body: int
    end: int


def write_edit(path: Path, track: int, edit: Edit) -> bool:
    """Correct the edit list of a track (counted from 0) that has an empty edit and one more; False when it has not."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        moov = next(_boxes(file, 0, size, b"moov"), None)
        tracks = list(_boxes(file, moov.body, moov.end, b"trak")) if moov else []
        if track >= len(tracks):
            return False
        edts = next(_boxes(file, tracks[track].body, tracks[track].end, b"edts"), None)
        elst = next(_boxes(file, edts.body, edts.end, b"elst"), None) if edts else None
        if elst is None:
            return False
        file.seek(elst.body)
        version, _, count = _FULL_BOX.unpack(file.read(_FULL_BOX.size))
        if count != 2:
            return False
        entry = struct.Struct(">qqI" if version == 1 else ">iiI")
        normal_rate = 0x00010000
        file.write(entry.pack(edit.start, -1, normal_rate))
        file.write(entry.pack(edit.duration, edit.media_time, normal_rate))
        return True


def _boxes(file: BinaryIO, start: int, end: int, kind: bytes) -> Iterator[_Box]:
    """Boxes of one kind, directly within a range of the file."""
    while start + _HEADER.size <= end:
        file.seek(start)
        size, found = _HEADER.unpack(file.read(_HEADER.size))
        body = start + _HEADER.size
        if size == 1:
            (size,) = _LARGE_SIZE.unpack(file.read(_LARGE_SIZE.size))
            body += _LARGE_SIZE.size
        if size < body - start:
            return
        if found == kind:
            yield _Box(found, body, start + size)
        start += size
