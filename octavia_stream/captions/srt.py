"""SubRip. It has no standard: what most players take is taken."""

import re
from collections.abc import Iterator

from octavia_stream.captions.blocks import BlockReader, milliseconds
from octavia_stream.captions.passages import Dialect, Token
from octavia_stream.captions.subtitle_cue import CueCollector, Parsed

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[,.](\d{3}))?"
_TIMES = re.compile(rf"\s*+{_TIME}\s*-->\s*+{_TIME}(?=\s|$)")
_TOKEN = re.compile(
    r"(?P<break>\r\n?|\n)"
    # SubRip's own tags, and the overrides of ASS that players understand in it.
    r"|</(?P<close>[A-Za-z]\w{0,20})\s{0,9}>"
    r"|<(?P<open>[A-Za-z]\w{0,20})(?:\s[^<>\r\n]{0,300})?>"
    r"|(?P<other>\{\\[^{}\r\n]{1,300}\})"
)


def read(document: str) -> Parsed:
    """All cues. Raises MediaTooLarge."""
    cues = CueCollector(document, DIALECT)
    BlockReader(document, cues, _times, lambda _: False).read()
    return cues.parsed()


def _times(line: str) -> tuple[int, int] | None:
    found = _TIMES.match(line)
    if found is None:
        return None
    parts = found.groups()
    return milliseconds(*parts[:4]), milliseconds(*parts[4:])


def tokenize(text: str, pattern: re.Pattern[str]) -> Iterator[Token]:
    """Cut a cue's text at what `pattern` finds, by its groups `break`, `open`, `close`, `other`."""
    position = 0
    for found in pattern.finditer(text):
        if found.start() > position:
            yield Token("text", text[position : found.start()])
        groups = found.groupdict()
        if groups.get("break") is not None:
            yield Token("break", found[0])
        elif (name := groups.get("open")) is not None:
            yield Token("open", found[0], name.lower())
        elif (name := groups.get("close")) is not None:
            yield Token("close", found[0], name.lower())
        else:
            yield Token("other", found[0])
        position = found.end()
    if position < len(text):
        yield Token("text", text[position:])


def _encoded(text: str) -> str:
    # An arrow in the text would begin another cue.
    return text.replace("-->", "→")


DIALECT = Dialect(lambda text: tokenize(text, _TOKEN), lambda text: text, _encoded, "\n")
