"""File names that people chose: made harmless on the way in, written as headers want them on the way out.

A name is a label only. It never becomes a path: objects lie under keys that the server makes.
"""

import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import quote

MAX_NAME_BYTES = 255
UNNAMED = "upload"

_DROPPED_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Control, format (such as right-to-left override), surrogate, private, unassigned, line and paragraph separators."""
_ATTR_CHAR = "!#$&+-.^_`|~"
"""What RFC 8187 lets stand in an extended value besides letters and digits."""


def clean_filename(name: str | None) -> str:
    """The last part of `name` without characters that hide or break things, at most 255 bytes of UTF-8.

    The extension survives shortening. A name with nothing left is `upload`.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name or ""))[-1]
    visible = "".join(char for char in last if unicodedata.category(char) not in _DROPPED_CATEGORIES)
    visible = visible.strip().lstrip(".").rstrip(". ")
    return _shortened(visible) or UNNAMED


def _shortened(name: str) -> str:
    """`name` cut to `MAX_NAME_BYTES`, its suffix kept."""
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    suffix = PurePosixPath(name).suffix
    if len(suffix.encode()) > 16:
        suffix = ""
    stem = name[: len(name) - len(suffix)].encode()[: MAX_NAME_BYTES - len(suffix.encode())]
    return stem.decode(errors="ignore") + suffix


def download_name(source: str, artifact: str, source_language: str | None, target_language: str) -> str:
    """What a result is called on the user's disk: `talk.mp4` and `dub.mkv` into `pt` → `talk.pt.mkv`.

    Artifacts of the source's own language start with `source`; other ones are in the target language.
    """
    stem = PurePosixPath(clean_filename(source)).stem or UNNAMED
    kind, suffix = PurePosixPath(artifact).stem, PurePosixPath(artifact).suffix
    language = (source_language or "source") if kind.startswith("source") else target_language
    extra = "" if kind in {"dub", "source", "target"} else f".{kind}"
    return clean_filename(f"{stem}.{language}{extra}{suffix}")


def content_disposition(name: str) -> str:
    """An `attachment` header for any name: plain ASCII for old clients, RFC 8187 for all others."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    ascii_name = re.sub(r"[^A-Za-z0-9 ._()+-]", "_", ascii_name).strip() or UNNAMED
    return f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe=_ATTR_CHAR)}"
