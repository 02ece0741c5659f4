"""What a result is called on the user's disk, and how a header says it."""

import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import quote

from octavia_stream.uploads.upload import display_name

_ATTR_CHAR = "!#$&+-.^_`|~"
"""What RFC 8187 lets stand in an extended value besides letters and digits."""
STEM_MAX = 90
"""Characters of the source's name; leaves room for the language and the extension."""


def download_name(source: str, artifact: str, source_language: str | None, target_language: str) -> str:
    """What a result is called on the user's disk: `talk.mp4` and `dub.mkv` into `pt` → `talk.pt.mkv`.

    Artifacts of the source's own language start with `source`; other ones are in the target language.
    """
    stem = PurePosixPath(display_name(source)).stem[:STEM_MAX]
    kind, suffix = PurePosixPath(artifact).stem, PurePosixPath(artifact).suffix
    language = (source_language or "source") if kind.startswith("source") else target_language
    extra = "" if kind in {"dub", "source", "target"} else f".{kind}"
    return display_name(f"{stem}.{language}{extra}{suffix}")


def content_disposition(name: str) -> str:
    """An `attachment` header for any name: plain ASCII for old clients, RFC 8187 for all others."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    ascii_name = re.sub(r"[^A-Za-z0-9 ._()+-]", "_", ascii_name).strip(" .")
    return f"attachment; filename=\"{ascii_name or 'download'}\"; filename*=UTF-8''{quote(name, safe=_ATTR_CHAR)}"
