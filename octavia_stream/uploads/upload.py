"""Upload: a file that a user brought, and what it may be called."""

import re
import unicodedata
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

FILENAME_MAX = 120
_SEPARATORS = re.compile(r"[/\\]")
_FORBIDDEN = re.compile(r'[<>:"|?*]')
_BLANKS = re.compile(r"\s+")


class Upload(msgspec.Struct, frozen=True):
    """One row of table `upload`."""

    id: UUID
    owner_id: UUID
    filename: str
    """For display and as a download's name; never part of a path."""
    content_type: str
    size: int
    sha256: str
    key: str
    """Where it lies in the object store."""
    created_at: datetime
    media_info: dict[str, Any] | None = None
    """What the probe found; None before anybody looked."""
    created_by: UUID | None = None
    """The account that brought it; None when it is gone, which only happens in a team."""

    @property
    def team_id(self) -> UUID | None:
        """The team that owns it, if one does."""
        return None if self.owner_id == self.created_by else self.owner_id


def display_name(filename: str) -> str:
    """A name fit to show and to offer on download: the last segment, no control or direction characters.

    The extension survives shortening. A name with nothing left becomes `upload`.
    """
    last = _SEPARATORS.split(unicodedata.normalize("NFC", filename))[-1]
    # Category C holds controls, format characters (which can turn the direction of text) and lone surrogates.
    visible = "".join(" " if c.isspace() else c for c in last if c.isspace() or unicodedata.category(c)[0] != "C")
    clean = _BLANKS.sub(" ", _FORBIDDEN.sub("_", visible)).strip(" .")
    if len(clean) > FILENAME_MAX:
        stem, dot, extension = clean.rpartition(".")
        ending = dot + extension if stem and len(extension) <= 10 else ""
        clean = clean[: FILENAME_MAX - len(ending)] + ending
    return clean or "upload"


def upload_key(upload_id: UUID) -> str:
    """Where an upload's bytes go in the object store."""
    return f"uploads/{upload_id}"
