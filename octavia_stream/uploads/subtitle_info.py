"""What an upload is known to hold when it is a subtitle file."""

from contextlib import suppress

import msgspec

from octavia_stream.captions.subtitle_file import CONTENT_TYPES, SubtitleFile, SubtitleFormat
from octavia_stream.errors import UnsupportedLanguage
from octavia_stream.languages import Language, parse_language
from octavia_stream.uploads.upload import Upload

_TYPES = frozenset(CONTENT_TYPES.values())


class SubtitleInfo(msgspec.Struct, frozen=True):
    """Kept with the upload, where media files keep what the probe found."""

    duration_s: float
    """When the last subtitle ends."""
    format: SubtitleFormat
    cues: int
    language: str | None
    """As the file itself says it; None when it says none that is known."""
    warnings: tuple[str, ...] = ()


def subtitle_info(file: SubtitleFile) -> SubtitleInfo:
    """What is worth knowing of a file that was read."""
    language: Language | None = None
    if file.language is not None:
        with suppress(UnsupportedLanguage):
            language = parse_language(file.language)
    return SubtitleInfo(file.end_ms / 1000, file.format, len(file.cues), language, file.warnings)


def is_subtitle_file(upload: Upload) -> bool:
    """Whether an upload was taken as a subtitle file."""
    return upload.content_type in _TYPES
