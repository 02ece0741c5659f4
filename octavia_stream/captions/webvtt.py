"""WebVTT, https://www.w3.org/TR/webvtt1/, and the times without minutes or fractions that some players take."""

import html
import re
from collections.abc import Iterator

from octavia_stream.captions.blocks import BlockReader, lines, milliseconds
from octavia_stream.captions.passages import Dialect, Token
from octavia_stream.captions.srt import tokenize
from octavia_stream.captions.subtitle_cue import CueCollector, Parsed

SIGNATURE = re.compile(r"WEBVTT(?:[ \t\r\n]|\Z)")
_TIME = r"(?:(?:(\d{1,4}):)?(\d{1,2}):)?(\d{1,2})(?:\.(\d{3}))?"
_TIMES = re.compile(rf"\s*+{_TIME}\s*-->\s*+{_TIME}(?=\s|$)")
_COMMENT = re.compile(r"NOTE(?:\s|$)|(?:STYLE|REGION)\s*$")
_LANGUAGE = re.compile(r"Language:\s{0,20}([A-Za-z0-9-]{1,35})\s*$", re.IGNORECASE)
_TOKEN = re.compile(
    r"(?P<break>\r\n?|\n)"
    r"|</(?P<close>[^<>\s.]*+)[^<>]*+>"
    # A time inside a cue, as karaoke has it, closes nothing and belongs to one word.
    r"|<(?P<open>\d[\d:.]*+|[^<>\s./]*+)[^<>]*+>"
)


def read(document: str) -> Parsed:
    """All cues. Raises MediaTooLarge."""
    cues = CueCollector(document, DIALECT)
    position, language = _header(document)
    BlockReader(document, cues, _times, lambda line: _COMMENT.match(line) is not None).read(position)
    return cues.parsed(language)


def _header(document: str) -> tuple[int, tuple[int, int] | None]:
    """Where the header ends, and where in it the language stands."""
    language: tuple[int, int] | None = None
    for start, end in lines(document):
        line = document[start:end]
        if "-->" in line or not line.strip():
            return start, language
        if len(line) <= 100 and (found := _LANGUAGE.match(line)) is not None:
            language = (start + found.start(1), start + found.end(1))
    return len(document), language


def _times(line: str) -> tuple[int, int] | None:
    found = _TIMES.match(line)
    if found is None:
        return None
    parts = found.groups()
    return milliseconds(*parts[:4]), milliseconds(*parts[4:])


def _tokens(text: str) -> Iterator[Token]:
    for token in tokenize(text, _TOKEN):
        # In the middle of a cue, where it marks the next word, it is left out; before all words it says nothing.
        yield Token("close", token.raw, token.name) if token.kind == "open" and token.name[:1].isdigit() else token


DIALECT = Dialect(_tokens, html.unescape, lambda text: html.escape(text, quote=False), "\n")
