"""Advanced SubStation Alpha and its forerunner SSA: what libass reads of them."""

import re

from octavia_stream.captions.blocks import lines
from octavia_stream.captions.passages import Dialect
from octavia_stream.captions.srt import tokenize
from octavia_stream.captions.subtitle_cue import CueCollector, Parsed

SIGNATURE = re.compile(r"^\[(?:Script Info\]|(?P<version>V4)\+? Styles\]|Events\])", re.IGNORECASE | re.MULTILINE)
_COLUMNS = ("layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text")
_MAX_COLUMNS = 64
# The last separator is a colon in files that some programs write.
_TIME = re.compile(r"\s{0,20}(\d{1,4}):(\d{1,2}):(\d{1,2})[:.](\d{1,3})\s{0,20}")
_DRAWING = re.compile(r"\{[^{}]*\\p[1-9][^{}]*\}")
_TOKEN = re.compile(r"(?P<break>\\[Nn])|(?P<other>\{[^{}]*+\})")


def read(document: str) -> Parsed:
    """All dialogue lines. Raises MediaTooLarge."""
    cues = CueCollector(document, DIALECT)
    columns: tuple[str, ...] = _COLUMNS
    in_events = False
    for start, end in lines(document):
        key = document[start : min(end, start + 10)].lstrip().lower()
        if key.startswith("["):
            in_events = key.startswith("[events]")
        elif in_events and key.startswith("format:"):
            columns = _columns(document[start:end]) or columns
        elif in_events and key.startswith("dialogue:"):
            _add(cues, document, (start, end), columns)
    return cues.parsed()


def _columns(line: str) -> tuple[str, ...] | None:
    """Names of the columns; None when the line leaves out what is needed."""
    names = tuple(name.strip().lower() for name in line.partition(":")[2].split(",", _MAX_COLUMNS))
    return names if names[-1] == "text" and {"start", "end"} <= set(names) else None


def _add(cues: CueCollector, document: str, span: tuple[int, int], columns: tuple[str, ...]) -> None:
    start, end = span
    position = document.index(":", start, end) + 1
    fields: dict[str, str] = {}
    for name in columns[:-1]:
        comma = document.find(",", position, end)
        if comma < 0:
            cues.add(None, span)
            return
        fields[name] = document[position:comma].strip()
        position = comma + 1
    first, last = _milliseconds(fields["start"]), _milliseconds(fields["end"])
    time_ms = (first, last) if first is not None and last is not None else None
    # Vector drawings look like words and are none.
    words = _DRAWING.search(document, position, min(end, position + 1000)) is None
    cues.add(time_ms, (position, end), f"{fields.get('style', '')}/{fields.get('name', '')}", words=words)


def _milliseconds(text: str) -> int | None:
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    hours, minutes, seconds, fraction = found.groups()
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(fraction.ljust(3, "0"))


def _decoded(text: str) -> str:
    return text.replace("\\h", " ")


def _encoded(text: str) -> str:
    # Braces would begin an override, a backslash a command.
    return text.replace("{", "(").replace("}", ")").replace("\\", "/")


DIALECT = Dialect(lambda text: tokenize(text, _TOKEN), _decoded, _encoded, r"\N", wraps=True)
