"""A subtitle file: what its cues say, and the same file again with other words in them.

Nothing is rebuilt: a cue knows where its text stands in the document, and writing puts new text in that place. So
timings, numbers, positions, styles, comments and whatever else a format allows stay as they are, to the byte.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from octavia_stream.captions import ass, srt, ttml, webvtt
from octavia_stream.captions.encodings import TextEncoding, decode_text
from octavia_stream.captions.passages import Dialect, write_passages
from octavia_stream.captions.subtitle_cue import MAX_BYTES, Parsed, SubtitleCue
from octavia_stream.errors import MediaTooLarge, SubtitlesRejected

SubtitleFormat = Literal["srt", "vtt", "ass", "ssa", "ttml"]

MAX_LINES = 500_000
"""Five for each of the most cues."""

CONTENT_TYPES: dict[SubtitleFormat, str] = {
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "ass": "text/x-ssa",
    "ssa": "text/x-ssa",
    "ttml": "application/ttml+xml",
}


@dataclass(frozen=True, slots=True)
class SubtitleFile:
    """A file that was read."""

    format: SubtitleFormat
    cues: tuple[SubtitleCue, ...]
    """In the order of the file, at least one of them with words."""
    language: str | None
    """The language tag that the file itself states."""
    warnings: tuple[str, ...]
    document: str = field(repr=False)
    encoding: TextEncoding
    dialect: Dialect
    language_span: tuple[int, int] | None

    @property
    def end_ms(self) -> int:
        """When the last cue ends."""
        return max(cue.end_ms for cue in self.cues)

    def rewritten(self, texts: Sequence[Sequence[str]], language: str | None = None) -> bytes:
        """The file with other words. texts: for each cue one text for each of its passages.

        A cue whose texts are its own stays as it is written. language: stated in place of the old one.
        """
        changes = [
            (cue.span, write_passages(cue.passages, new, self.dialect))
            for cue, new in zip(self.cues, texts, strict=True)
            if list(new) != [passage.text for passage in cue.passages]
        ]
        if language is not None and self.language_span is not None:
            changes.append((self.language_span, language))
        newline = _newline(self.document)
        parts: list[str] = []
        position = 0
        for (start, end), text in sorted(changes):
            parts += [self.document[position:start], text.replace("\n", newline)]
            position = end
        parts.append(self.document[position:])
        return self.encoding.encode("".join(parts))


Reader = Callable[[str], Parsed]


def read_subtitles(data: bytes) -> SubtitleFile:
    """Read a file, whatever its name says. Takes time and memory in proportion to its size.

    Cues without a valid time, or longer than anybody reads, are left as they are, with a warning.
    Raises SubtitlesRejected (not a subtitle file, nothing readable in it), MediaTooLarge.
    """
    if len(data) > MAX_BYTES:
        raise MediaTooLarge(f"The subtitle file is larger than {MAX_BYTES // 1024**2} MiB, the most this server takes.")
    document, encoding = decode_text(data)
    if max(document.count("\n"), document.count("\r")) > MAX_LINES:
        raise MediaTooLarge(f"The file has more than {MAX_LINES:,} lines, the most this server takes.")
    name, reader = _reader(document)
    parsed = reader(document)
    if not parsed.cues:
        raise SubtitlesRejected("There is no subtitle with a valid time in this file.")
    if not any(cue.passages for cue in parsed.cues):
        raise SubtitlesRejected("There are no words in the subtitles of this file.")
    language = document[slice(*parsed.language)] if parsed.language is not None else None
    return SubtitleFile(
        format=name,
        cues=tuple(parsed.cues),
        language=language,
        warnings=tuple(parsed.warnings),
        document=document,
        encoding=encoding,
        dialect=parsed.dialect,
        language_span=parsed.language,
    )


def _reader(document: str) -> tuple[SubtitleFormat, Reader]:
    head = document[:4096].lstrip("\ufeff \t\r\n")
    if webvtt.SIGNATURE.match(head):
        return "vtt", webvtt.read
    if ttml.SIGNATURE.match(head):
        return "ttml", ttml.read
    if (found := ass.SIGNATURE.search(document[:65536])) is not None:
        return ("ssa" if found["version"] == "V4" else "ass"), ass.read
    if "-->" in document:
        return "srt", srt.read
    raise SubtitlesRejected("This is no subtitle file that can be read; SRT, WebVTT, ASS and TTML can.")


def _newline(document: str) -> str:
    end = document.find("\n")
    if end < 0:
        return "\r" if "\r" in document else "\n"
    return "\r\n" if document[end - 1 : end] == "\r" else "\n"
