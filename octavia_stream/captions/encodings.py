"""Bytes of a text file → text, and back in the encoding it came in."""

import codecs
import re
from dataclasses import dataclass

from charset_normalizer import from_bytes

from octavia_stream.errors import SubtitlesRejected

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    # Before UTF-16, whose mark is how this one begins.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_XML_DECLARATION = re.compile(rb"<\?xml[^<>]{0,200}?encoding\s{0,20}=\s{0,20}[\"']([A-Za-z0-9._-]{1,40})[\"']")
# Python's codecs hold more than character sets; some of them, punycode for one, take quadratic time.
_CHARACTER_SETS = re.compile(
    r"ascii|utf-8|iso8859-\d+|cp\d+|koi8-[rut]|gb\w+|big5\w*|shift_jis\w*|euc_\w+|mac-\w+|tis-620"
)
_WESTERN = "cp1252"
"""Between equals the most frequent one."""
_JAPANESE = "cp932"
_KANA = re.compile(r"[\u3040-\u30ff]")
_KANA_SHARE = 0.15
"""Of bytes: two make a character, and about half of Japanese is kana, which no other reading of the bytes gives."""
_SAMPLE_BYTES = 64 * 1024
"""Enough to tell an old encoding by; detection takes a time that grows with its sample."""


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """How a file writes its text."""

    codec: str
    bom: bytes = b""

    def encode(self, text: str) -> bytes:
        """The text in this encoding, or in UTF-8 when it has characters that this one lacks."""
        if _is_xml(text):
            return self.bom + text.encode(self.codec, "xmlcharrefreplace")
        try:
            return self.bom + text.encode(self.codec)
        except UnicodeEncodeError:
            # Whoever reads the old encoding by default needs the mark to see that this is another.
            return codecs.BOM_UTF8 + text.encode()


def decode_text(data: bytes) -> tuple[str, TextEncoding]:
    """By its byte-order mark, by its XML declaration, as UTF-8, or as the old encoding it most looks like.

    Raises SubtitlesRejected when it is no text.
    """
    for bom, codec in _BOMS:
        if data.startswith(bom):
            return _strictly(data[len(bom) :], TextEncoding(codec, bom))
    declared = _declared(data)
    if declared is not None:
        return _strictly(data, TextEncoding(declared))
    try:
        return _checked(data.decode(), TextEncoding("utf-8"))
    except UnicodeDecodeError:
        pass
    detected = _detected(data)
    try:
        return _checked(data.decode(detected), TextEncoding(detected))
    except UnicodeDecodeError:
        return _checked(data.decode("latin-1"), TextEncoding("latin-1"))


def _declared(data: bytes) -> str | None:
    found = _XML_DECLARATION.match(data.lstrip()[:300])
    if found is None:
        return None
    try:
        name = codecs.lookup(found[1].decode()).name
    except LookupError:
        name = ""
    if not _CHARACTER_SETS.fullmatch(name):
        raise SubtitlesRejected("The file declares an encoding that is not known here; save it as UTF-8.")
    return name


def _detected(data: bytes) -> str:
    # Plain ASCII tells nothing, and a line is never cut in the middle of a character.
    telling = b"\n".join(line for line in data[: 16 * _SAMPLE_BYTES].splitlines() if not line.isascii())
    sample = telling[:_SAMPLE_BYTES].rpartition(b"\n")[0] if len(telling) > _SAMPLE_BYTES else telling
    matches = list(from_bytes(sample or data[:_SAMPLE_BYTES]))
    if not matches:
        return _WESTERN
    best = matches[0]
    likely = {
        name
        for match in matches
        if match.chaos <= best.chaos + 0.01 and match.coherence >= best.coherence - 0.01
        for name in match.could_be_from_charset
    }
    if _WESTERN in likely:
        return _WESTERN
    kana = _KANA.findall(sample.decode(_JAPANESE, "ignore"))
    return _JAPANESE if len(kana) > len(sample) * _KANA_SHARE else best.encoding


def _strictly(data: bytes, encoding: TextEncoding) -> tuple[str, TextEncoding]:
    try:
        return _checked(data.decode(encoding.codec), encoding)
    except UnicodeDecodeError as error:
        raise SubtitlesRejected(f"The file says that it is {encoding.codec.upper()}, and it is not.") from error


def _checked(text: str, encoding: TextEncoding) -> tuple[str, TextEncoding]:
    if "\0" in text:
        raise SubtitlesRejected("This is no text file; subtitles are SRT, WebVTT, ASS or TTML.")
    return text, encoding


def _is_xml(text: str) -> bool:
    return text.lstrip()[:5] == "<?xml"
