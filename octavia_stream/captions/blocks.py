"""What SubRip and WebVTT share: blocks of lines, a time on one of them, text up to the next blank line."""

import re
from collections.abc import Callable, Iterator

from octavia_stream.captions.subtitle_cue import CueCollector

Span = tuple[int, int]
ReadTime = Callable[[str], tuple[int, int] | None]
"""A line with an arrow → start and end in milliseconds; None when it is not valid."""

_LINE = re.compile(r"[^\r\n]*+(?:\r\n?|\n|\Z)")
MAX_TIMING_CHARACTERS = 1_000
"""A line that is longer is no line with a time, whatever stands in it."""


def lines(document: str, position: int = 0) -> Iterator[Span]:
    """Where each line stands, its end left out."""
    while position < len(document):
        found = _LINE.match(document, position)
        if found is None:
            return
        end = found.end()
        while end > position and document[end - 1] in "\r\n":
            end -= 1
        yield position, end
        position = found.end()


class BlockReader:
    """Reads blocks line by line: each line is looked at once, whatever the file holds."""

    def __init__(
        self, document: str, cues: CueCollector, read_time: ReadTime, is_comment: Callable[[str], bool]
    ) -> None:
        self._document = document
        self._cues = cues
        self._read_time = read_time
        self._is_comment = is_comment
        self._time: tuple[int, int] | None = None
        self._in_cue = False
        self._text: list[Span] = []
        self._loose = 0
        """Lines of this block before any time."""
        self._comment = False

    def read(self, position: int = 0) -> None:
        """Read from a position on to the end. Raises MediaTooLarge."""
        for span in lines(self._document, position):
            self._line(span)
        self._end_block()

    def _line(self, span: Span) -> None:
        line = self._document[slice(*span)]
        if not line.strip():
            self._end_block()
        elif self._comment:
            return
        elif "-->" in line:
            self._begin_cue(line)
        elif self._in_cue:
            self._text.append(span)
        else:
            self._comment = self._loose == 0 and self._is_comment(line)
            self._loose += 1

    def _begin_cue(self, line: str) -> None:
        if self._in_cue:
            # No blank line before this cue: what looks like its number is no text of the one before.
            if self._text and self._document[slice(*self._text[-1])].strip().isdigit():
                self._text.pop()
            self._end_block()
        self._in_cue = True
        self._time = self._read_time(line) if len(line) <= MAX_TIMING_CHARACTERS else None

    def _end_block(self) -> None:
        if self._in_cue and (self._text or self._time is None):
            span = (self._text[0][0], self._text[-1][1]) if self._text else (0, 0)
            self._cues.add(self._time, span)
        elif self._loose and not self._comment and not self._in_cue:
            self._cues.stray()
        self._time, self._in_cue, self._text, self._loose, self._comment = None, False, [], 0, False


def milliseconds(hours: str | None, minutes: str | None, seconds: str, fraction: str | None) -> int:
    """fraction: three digits, or none."""
    return ((int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds)) * 1000 + int(fraction or 0)
