"""The one file inside a `multipart/form-data` body (RFC 7578), as a stream.

Litestar's own form parser would write the file to disk before the handler sees it.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
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


async def multipart_form(
    body: AsyncIterator[bytes], boundary: str, keep: Callable[[IncomingFile], Awaitable[None]]
) -> dict[str, list[str]]:
    """Read a whole form: the file named `file` is given to `keep` as it comes, the other fields are returned by name.

    Fields may stand before or after the file. Raises InvalidRequest when there is no file or there are two, and when
    the form is malformed, breaks off, or its fields are too large.
    """
    fields: dict[str, list[str]] = {}
    kept, left = False, MAX_FIELD_BYTES
    parts = _parts(body, boundary)
    async for part in parts:
        if not isinstance(part, MultipartSegment):
            continue
        if part.name == "file" and part.filename is not None:
            if kept:
                raise InvalidRequest("Send one file in a form.")
            kept = True
            await keep(IncomingFile(part.filename, _one_part(parts)))
            continue
        value = bytearray()
        async for piece in _one_part(parts):
            value += piece
            left -= len(piece)
            if left < 0:
                raise InvalidRequest("The fields of this form are too large.")
        fields.setdefault(part.name or "", []).append(value.decode("utf-8", "replace"))
    if not kept:
        raise InvalidRequest("The form holds no file; send it as a field named 'file'.")
    return fields


async def _one_part(parts: AsyncGenerator[_Part]) -> AsyncIterator[bytes]:
    """The content of the part that was just opened, up to its end."""
    async for part in parts:
        if not isinstance(part, bytes):
            return
        yield part
