"""Segments of a stream that is watched while it is made: where they are cut, and the boxes they are made of.

Knows no media library. Boxes: ISO/IEC 14496-12; segments: RFC 8216, section 3, and CMAF (ISO/IEC 23000-19).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

SEGMENT_S = 4.0
"""A segment is cut as soon as it is this long."""
FIRST_S = 1.0
"""The first one is: somebody waits for it."""
FRAGMENT_S = 1.0
"""Sound comes out of the muxer in fragments of this length."""
LONGEST_S = 6.0
"""No fragment is longer, and no segment, but for the last frame in it: players are told so before the first one."""
_HEADER = struct.Struct(">I4s")
_PATH = (b"moof", b"traf", b"tfdt")


@dataclass(frozen=True, slots=True)
class Segment:
    """Whole fragments, one after the other."""

    duration_s: float
    content: bytes


class SegmentCutter:
    """Gathers fragments (one group of pictures each, as a rule) into segments of about the same length."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._duration_s = 0.0
        self._wanted_s = FIRST_S

    def push(self, duration_s: float, fragment: bytes) -> Iterator[Segment]:
        """Take a fragment; yields the segments that it completes."""
        if self._parts and self._duration_s + duration_s > LONGEST_S:
            yield self._cut()
        self._parts.append(fragment)
        self._duration_s += duration_s
        if self._duration_s >= self._wanted_s:
            yield self._cut()

    def finish(self) -> Iterator[Segment]:
        """What is left."""
        if self._parts:
            yield self._cut()

    def _cut(self) -> Segment:
        segment = Segment(self._duration_s, b"".join(self._parts))
        self._parts, self._duration_s, self._wanted_s = [], 0.0, SEGMENT_S
        return segment


class BoxReader:
    """Takes bytes as a muxer writes them, gives whole boxes."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        """As a file would."""
        self._waiting += data
        return len(data)

    def boxes(self) -> Iterator[tuple[bytes, bytes]]:
        """(kind, box) of what is complete. Raises ValueError for what is no box."""
        while len(self._waiting) >= _HEADER.size:
            size, kind = _HEADER.unpack_from(self._waiting)
            if size < _HEADER.size:
                raise ValueError("this is no box")
            if len(self._waiting) < size:
                return
            box = bytes(self._waiting[:size])
            del self._waiting[:size]
            yield kind, box


def delayed(moof: bytes, ticks: int) -> bytes:
    """The fragment's head, presented so many ticks later. FFmpeg counts from the first sample it is given."""
    moved = bytearray(moof)
    for body in _find(moof, 0, len(moof), _PATH):
        # Version 1 has 64 bits, version 0 has 32.
        field = struct.Struct(">Q" if moof[body] == 1 else ">I")
        (time,) = field.unpack_from(moof, body + 4)
        field.pack_into(moved, body + 4, time + ticks)
    return bytes(moved)


def codec_of(init: bytes) -> str | None:
    """The picture's name for the attribute CODECS (RFC 6381); None where the head does not show it plainly."""
    at = init.find(b"avcC")
    if at < 0 or at + 8 > len(init):
        return None
    return f"avc1.{init[at + 5 : at + 8].hex()}"


def _find(data: bytes, start: int, end: int, path: tuple[bytes, ...]) -> Iterator[int]:
    """Where the bodies of boxes at this path begin."""
    while start + _HEADER.size <= end:
        size, kind = _HEADER.unpack_from(data, start)
        if size < _HEADER.size:
            return
        if kind == path[0]:
            if len(path) == 1:
                yield start + _HEADER.size
            else:
                yield from _find(data, start + _HEADER.size, start + size, path[1:])
        start += size
