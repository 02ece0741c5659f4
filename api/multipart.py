"""The one file inside a `multipart/form-data` body (RFC 7578), as a stream.

Litestar's own form parser would write the file to disk before the handler sees it.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import TypeAlias

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from octavia_stream.errors import InvalidRequest

MAX_PARTS = 16
MAX_FIELD_BYTES = 64 * 1024
"""Of the form's other fields, all of which are skipped."""


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """A file on its way in: read `chunks` once, to the end."""

    filename: str | None
    chunks: AsyncIterator[bytes]


_Part: TypeAlias = "MultipartSegment | bytes | None"
"""A part's head, a piece of its content, or its end."""


async def multipart_file(body: AsyncIterator[bytes], boundary: str) -> IncomingFile:
    """Read `body` up to the first part that is a file.

    Raises InvalidRequest when there is none, or when the form is malformed or breaks off; the latter
    two also while its chunks are read.
    """
    parts = _parts(body, boundary)
    skipped = 0
    async for part in parts:
        if isinstance(part, MultipartSegment) and part.filename is not None:
            return IncomingFile(part.filename, _content(parts))
        skipped += len(part) if isinstance(part, bytes) else 0
        if skipped > MAX_FIELD_BYTES:
            break
    await parts.aclose()
    raise InvalidRequest("The form holds no file; send it as a field named 'file'.")


async def _content(parts: AsyncGenerator[_Part]) -> AsyncIterator[bytes]:
    """The content of the part that was just opened; then the rest of the form, unread."""
    inside = True
    async for part in parts:
        if inside and part is None:
            inside = False
        elif inside and isinstance(part, bytes):
            yield part


async def _parts(body: AsyncIterator[bytes], boundary: str) -> AsyncGenerator[_Part]:
    try:
        with PushMultipartParser(boundary, max_segment_count=MAX_PARTS) as parser:
            async for chunk in body:
                # Bytes after the closing boundary are read and dropped, so that the connection stays usable.
                if not chunk or parser.closed:
                    continue
                for part in parser.parse(chunk):
                    yield part
    except MultipartError as error:
        raise InvalidRequest("The form is malformed or breaks off; send it again.") from error
