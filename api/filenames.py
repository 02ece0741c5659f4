"""What a result is called on the user's disk, and how a header says it."""

import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import quote

from octavia_stream.uploads.upload import display_name

_ATTR_CHAR = "!#$&+-.^_`|~"
"""What RFC 8187 lets stand in an extended value besides letters and digits."""
_LANGUAGE = re.compile(r"(?!dub)[a-z]{2,3}(?:\.dub|\.burned)?")
STEM_MAX = 90
"""Characters of the source's name; leaves room for the language and the extension."""


def download_name(source: str, artifact: str, source_language: str | None, result_language: str | None) -> str:
    """What a result is called on the user's disk: `talk.mp4` and `dub.mkv` into `pt` → `talk.pt.mkv`.

    Artifacts that are named after a language, as `dub.pt.mkv` and `pt.srt` are, keep its name; `source` stands for the
    source's, other ones are in that of the result. A source that is named after its language, as `talk.en.srt` is, does
    not keep that.
    """
    stem = PurePosixPath(display_name(source)).stem[:STEM_MAX]
    if source_language is not None and stem.lower().endswith(f".{source_language}"):
        stem = stem[: -len(source_language) - 1]
    kind, suffix = PurePosixPath(artifact).stem, PurePosixPath(artifact).suffix
    kind = kind.removeprefix("dub.")
    if _LANGUAGE.fullmatch(kind):
        return display_name(f"{stem}.{kind}{suffix}")
    language = (source_language or "source") if kind.startswith("source") else result_language
    extra = None if kind in {"dub", "source", "target"} else kind
    return display_name(".".join(part for part in (stem, language, extra) if part) + suffix)


def content_disposition(name: str) -> str:
    """An `attachment` header for any name: plain ASCII for old clients, RFC 8187 for all others."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    ascii_name = re.sub(r"[^A-Za-z0-9 ._()+-]", "_", ascii_name).strip(" .")
    return f"attachment; filename=\"{ascii_name or 'download'}\"; filename*=UTF-8''{quote(name, safe=_ATTR_CHAR)}"
