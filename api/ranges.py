"""Byte ranges: one range of a file, as RFC 9110, section 14 asks for it."""

import re
from dataclasses import dataclass

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)-(\d*)\s*", re.ASCII)
_MAX_DIGITS = 19
"""As many as the size of any file needs; Python refuses to parse numbers of thousands of digits."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` up to, not including, `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start

    def content_range(self, size: int) -> str:
        """The `Content-Range` of a 206: its last position is inclusive."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


class Unsatisfiable(Exception):
    """The range lies outside the file: the answer is 416 with the size in `Content-Range`."""


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """The range that a `Range` header asks for out of `size` bytes; None means the whole file.

    A header that is malformed, of another unit, or asks for several ranges is ignored, as the standard
    allows. Raises Unsatisfiable.
    """
    match = _RANGE.fullmatch(header) if header else None
    if match is None:
        return None
    first, last = match.groups()
    if len(first) > _MAX_DIGITS or len(last) > _MAX_DIGITS or not (first or last):
        return None
    if first and last and int(last) < int(first):
        return None
    wanted = _suffix(int(last), size) if not first else _from(int(first), last, size)
    if wanted.length <= 0:
        raise Unsatisfiable
    return wanted


def _suffix(count: int, size: int) -> ByteRange:
    """The last `count` bytes."""
    return ByteRange(max(size - count, 0), size)


def _from(start: int, last: str, size: int) -> ByteRange:
    """From `start` to the inclusive position `last`, or to the end."""
    return ByteRange(start, min(int(last) + 1, size) if last else size)
