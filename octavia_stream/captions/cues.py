"""Sentences become subtitle cues: at most two lines of 42 columns, short enough to read."""

import html
import textwrap
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import msgspec

COLUMNS = 42
LINES = 2
"""Both from the timed-text style guides of broadcasters and Netflix."""
CHARACTERS_PER_SECOND = 17.0
MIN_DURATION_S = 5 / 6
GAP_S = 0.08
"""Two frames at 24 frames a second, so that the eye sees the change."""


class CueRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a cue may be like."""

    columns: Annotated[int, msgspec.Meta(ge=20, le=80)] = COLUMNS
    """The most characters in a line; ideographs count twice."""
    lines: Annotated[int, msgspec.Meta(ge=1, le=4)] = LINES
    characters_per_second: Annotated[float, msgspec.Meta(ge=5, le=40)] = CHARACTERS_PER_SECOND
    """How fast it has to be read: a cue stays longer than it is spoken where the next one leaves time."""


USUAL = CueRules()


@dataclass(frozen=True, slots=True)
class SpokenText:
    """A text and when it is heard, in seconds."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle. Lines are joined by a newline; cues never overlap."""

    start_s: float
    end_s: float
    text: str


def make_cues(texts: Iterable[SpokenText], end_s: float, rules: CueRules = USUAL) -> list[Cue]:
    """Break texts into cues; each may stay until the next starts when it needs the time to be read.

    texts: in order of time. end_s: where the media ends.
    """
    pieces = [piece for text in texts for piece in _split(text, rules)]
    cues: list[Cue] = []
    for index, piece in enumerate(pieces):
        limit = pieces[index + 1].start_s - GAP_S if index + 1 < len(pieces) else end_s
        wanted = max(
            piece.end_s, piece.start_s + MIN_DURATION_S, piece.start_s + len(piece.text) / rules.characters_per_second
        )
        end = min(wanted, limit)
        if end > piece.start_s:
            cues.append(Cue(piece.start_s, end, break_lines(piece.text, rules)))
    return cues


def write_srt(cues: Iterable[Cue]) -> str:
    """SubRip. Written here and not by pysubs2, whose writer prints: Ray's workers replace `print`."""
    return "\n".join(
        f"{number}\n{_timestamp(cue.start_s, ',')} --> {_timestamp(cue.end_s, ',')}\n{cue.text}\n"
        for number, cue in enumerate(cues, start=1)
    )


def write_vtt(cues: Iterable[Cue]) -> str:
    """WebVTT."""
    blocks = (
        f"\n{_timestamp(cue.start_s, '.')} --> {_timestamp(cue.end_s, '.')}\n{html.escape(cue.text, quote=False)}\n"
        for cue in cues
    )
    return "WEBVTT\n" + "".join(blocks)


def _timestamp(seconds: float, separator: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{separator}{rest % 1000:03}"


def _split(text: SpokenText, rules: CueRules) -> list[SpokenText]:
    """Cut a long sentence into cues of so many lines, time shared by the number of characters."""
    lines = _wrapped(text.text, rules.columns)
    parts = [_joined(lines[first : first + rules.lines], text.text) for first in range(0, len(lines), rules.lines)]
    total = sum(len(part) for part in parts)
    if not total:
        return []
    pieces: list[SpokenText] = []
    start, spoken = text.start_s, 0
    for part in parts:
        spoken += len(part)
        end = text.start_s + (text.end_s - text.start_s) * spoken / total
        pieces.append(SpokenText(start, end, part))
        start = end
    return pieces


def _joined(lines: list[str], text: str) -> str:
    """Lines as they stood in `text`: with a space between words, without one between ideographs."""
    spaced = " ".join(lines)
    return spaced if spaced in " ".join(text.split()) else "".join(lines)


def break_lines(text: str, rules: CueRules = USUAL) -> str:
    """Lines of about the same width, as few as do, the upper of two no longer than the lower where that is possible;
    more than the rules want when so many are not enough."""
    if _width(text) <= rules.columns:
        return text
    fewest = min(rules.lines, -(-_width(text) // rules.columns))
    for width in range(-(-_width(text) // fewest), rules.columns + 1):
        lines = _wrapped(text, width)
        if len(lines) <= fewest:
            return "\n".join(lines)
    return "\n".join(_wrapped(text, rules.columns))


def _wrapped(text: str, width: int) -> list[str]:
    # Full-width ideographs take two columns and have no spaces to break at: textwrap breaks them anywhere.
    narrow = width if _width(text) == len(text) else width // 2
    return textwrap.wrap(text, narrow, break_long_words=True, break_on_hyphens=False)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
