"""TTML, https://www.w3.org/TR/ttml2/, as far as time and text go: nested `begin`, `end` and `dur`, every time unit."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from xml.parsers import expat

from octavia_stream.captions.passages import Dialect, Token
from octavia_stream.captions.subtitle_cue import CueCollector, Parsed
from octavia_stream.errors import MediaTooLarge, SubtitlesRejected

SIGNATURE = re.compile(r"<\?xml\b|<!|<(?:[\w.-]{1,40}:)?tt[\s>]")
_ROOT = re.compile(r"(?:<\?xml[^<>]{0,300}\?>)?\s*+(?:<!--[^<>]{0,2000}-->\s*+){0,20}<(?:[\w.-]{1,40}:)?tt[\s>]")
MAX_DEPTH = 100
MAX_ELEMENTS = 500_000
_NAMESPACE = re.compile(r"http://www\.w3\.org/(?:ns/ttml|2006/\d\d/ttaf1)(?:#(?P<part>\w+))?")
_CLOCK = re.compile(r"(\d{2,6}):(\d{2}):(\d{2})(?:(\.\d{1,9})|:(\d{2,4})(?:\.\d{1,4})?)?")
_OFFSET = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(h|m|s|ms|f|t)")
_SECONDS = {"h": Fraction(3600), "m": Fraction(60), "s": Fraction(1), "ms": Fraction(1, 1000)}
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,4}")
_TOKEN = re.compile(
    r"(?P<other><!--.*?-->|<\?.*?\?>)"
    r"|(?P<cdata><!\[CDATA\[.*?\]\]>)"
    r"|(?P<break><(?:[\w.-]{1,40}:)?br\b(?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+')*+>)"
    r"|</(?P<close>[^<>\s]++)\s*+>"
    r"|<(?P<open>[^<>\s/!?]++)(?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+')*+>",
    re.DOTALL,
)


def read(document: str) -> Parsed:
    """All paragraphs that have a time, or whose spans have one. Raises SubtitlesRejected, MediaTooLarge."""
    cues = CueCollector(document, DIALECT)
    outline = _Outline(document.encode())
    for time_ms, span in _in_characters(outline.timed, outline.source):
        cues.add(time_ms, span)
    return cues.parsed(_language(document))


@dataclass(slots=True)
class _Element:
    """An element that is open."""

    name: str
    begin: Fraction | None
    """In seconds; None when a time in it cannot be read."""
    end: Fraction | None
    """None when nothing says it."""
    timed: bool
    """Whether it says a time itself."""
    inside: bool
    """Whether it stands in a cue."""
    cue: bool = False
    content: int | None = None
    """Where its content begins, in bytes; None while its start tag is open."""
    parts: bool = False
    """Whether something in it is a cue."""


class _Outline:
    """Reads the XML once and notes where the content of each timed element stands, in bytes of UTF-8."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.timed: list[tuple[tuple[int, int] | None, tuple[int, int]]] = []
        self._open: list[_Element] = []
        self._fresh: _Element | None = None
        self._elements = 0
        self._frame_rate = Fraction(30)
        self._tick_rate = Fraction(1)
        self._parser = parser = expat.ParserCreate("utf-8", namespace_separator=" ")
        parser.buffer_text = False
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        # Any event tells where the start tag before it ended.
        parser.CharacterDataHandler = self._other
        parser.CommentHandler = self._other
        parser.ProcessingInstructionHandler = self._other
        parser.StartCdataSectionHandler = self._other
        try:
            parser.Parse(source, True)
        except expat.ExpatError as error:
            message = f"The file is not well-formed XML (line {error.lineno}), so it cannot be read as TTML."
            raise SubtitlesRejected(message) from error

    def _refuse_doctype(self, *_: object) -> None:
        # TTML needs none, and entities are how a small file becomes a large one.
        raise SubtitlesRejected("The file declares a document type, which is not accepted; remove the DOCTYPE.")

    def _settle(self) -> None:
        if self._fresh is not None:
            self._fresh.content = self._parser.CurrentByteIndex
            self._fresh = None

    def _other(self, *_: object) -> None:
        self._settle()

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._settle()
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise MediaTooLarge(f"The file has more than {MAX_ELEMENTS:,} elements, the most this server takes.")
        if len(self._open) == MAX_DEPTH:
            raise SubtitlesRejected(f"The file nests more than {MAX_DEPTH} elements, which no subtitles do.")
        local = name.rpartition(" ")[2]
        if not self._open:
            if local != "tt":
                raise SubtitlesRejected("This is XML of another kind; of XML subtitles, TTML can be read.")
            self._read_rates(attributes)
        element = self._element(local, attributes)
        element.cue = local in {"p", "span"} and element.timed and not element.inside
        self._open.append(element)
        self._fresh = element

    def _end(self, _: str) -> None:
        empty = self._fresh is not None
        self._settle()
        element = self._open.pop()
        # A paragraph without a time of its own shows as long as what it stands in.
        untimed = element.name == "p" and not (element.timed or element.inside or element.parts)
        if (element.cue or (untimed and element.end is not None)) and element.content is not None and not empty:
            self.timed.append((_window(element), (element.content, self._parser.CurrentByteIndex)))
            for outer in self._open:
                outer.parts = True

    def _element(self, name: str, attributes: dict[str, str]) -> _Element:
        parent = self._open[-1] if self._open else None
        inside = parent is not None and (parent.inside or parent.cue)
        origin = parent.begin if parent else Fraction(0)
        values = [attributes.get(key) for key in ("begin", "end", "dur")]
        begin, end, duration = (self._seconds(value) if value is not None else None for value in values)
        bad = origin is None or any(
            v is not None and s is None for v, s in zip(values, (begin, end, duration), strict=True)
        )
        if bad or origin is None:
            return _Element(name, None, None, timed=any(value is not None for value in values), inside=inside)
        starts = origin + (begin or 0)
        candidates = [origin + end] if end is not None else []
        candidates += [starts + duration] if duration is not None else []
        candidates += [parent.end] if parent is not None and parent.end is not None else []
        timed = begin is not None or end is not None or duration is not None
        return _Element(name, starts, min(candidates, default=None), timed=timed, inside=inside)

    def _read_rates(self, attributes: dict[str, str]) -> None:
        own = {key.rpartition(" ")[2]: value for key, value in attributes.items() if _is_parameter(key)}
        rate = _positive(own.get("frameRate", "30"), Fraction(30))
        over, _, under = own.get("frameRateMultiplier", "1 1").partition(" ")
        multiplier = _positive(over, Fraction(1)) / _positive(under or "1", Fraction(1))
        self._frame_rate = rate * multiplier
        default = self._frame_rate if "frameRate" in own else Fraction(1)
        self._tick_rate = _positive(own.get("tickRate", ""), default)

    def _seconds(self, value: str) -> Fraction | None:
        text = value.strip()[:60]
        if (clock := _CLOCK.fullmatch(text)) is not None:
            hours, minutes, seconds, fraction, frames = clock.groups()
            whole = Fraction(int(hours) * 3600 + int(minutes) * 60 + int(seconds))
            return whole + Fraction(fraction or 0) + Fraction(int(frames or 0)) / self._frame_rate
        if (offset := _OFFSET.fullmatch(text)) is not None:
            number, unit = Fraction(offset[1]), offset[2]
            if unit in _SECONDS:
                return number * _SECONDS[unit]
            return number / (self._frame_rate if unit == "f" else self._tick_rate)
        return None


def _window(element: _Element) -> tuple[int, int] | None:
    if element.begin is None or element.end is None:
        return None
    return round(element.begin * 1000), round(element.end * 1000)


def _is_parameter(key: str) -> bool:
    found = _NAMESPACE.fullmatch(key.rpartition(" ")[0])
    return found is not None and found["part"] == "parameter"


def _positive(text: str, default: Fraction) -> Fraction:
    return Fraction(int(text)) if text.isascii() and text.isdigit() and len(text) < 12 and int(text) else default


def _in_characters(
    timed: list[tuple[tuple[int, int] | None, tuple[int, int]]], source: bytes
) -> Iterator[tuple[tuple[int, int] | None, tuple[int, int]]]:
    """The same with positions counted in characters. Spans are in order of their ends, and none is in another."""
    at, characters = 0, 0

    def advance(position: int) -> int:
        nonlocal at, characters
        characters += len(source[at:position].decode())
        at = position
        return characters

    for time_ms, (start, end) in timed:
        yield time_ms, (advance(start), advance(end))


def _language(document: str) -> tuple[int, int] | None:
    """Where the root element says its language."""
    root = _ROOT.match(document.lstrip("\ufeff \t\r\n"))
    if root is None:
        return None
    offset = len(document) - len(document.lstrip("\ufeff \t\r\n"))
    start = offset + root.end() - 1
    tag = document[start : document.find(">", start)]
    found = re.search(r"\sxml:lang\s{0,9}=\s{0,9}[\"'](" + _LANGUAGE.pattern + r")[\"']", tag)
    return None if found is None else (start + found.start(1), start + found.end(1))


def _tokens(text: str) -> Iterator[Token]:
    position = 0
    for found in _TOKEN.finditer(text):
        if found.start() > position:
            yield Token("text", text[position : found.start()])
        yield _token(found)
        position = found.end()
    if position < len(text):
        yield Token("text", text[position:])


def _token(found: re.Match[str]) -> Token:
    raw = found[0]
    if found["break"] is not None:
        return Token("break", raw)
    if found["cdata"] is not None:
        return Token("text", html.escape(raw[9:-3], quote=False))
    if found["close"] is not None:
        # `<br></br>` is a break already.
        name = found["close"]
        return Token("other", "") if name.rpartition(":")[2] == "br" else Token("close", raw, name)
    if found["open"] is not None and not raw.endswith("/>"):
        return Token("open", raw, found["open"])
    return Token("other", raw)


DIALECT = Dialect(_tokens, html.unescape, lambda text: html.escape(text, quote=False), "<br/>")
