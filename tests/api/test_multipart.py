"""The file inside a form, whatever the pieces it comes in."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.multipart import multipart_file
from octavia_stream.errors import InvalidRequest

BOUNDARY = "frontier"


def form(content: bytes, *, before: bytes = b"", filename: str = "talk.mp4") -> bytes:
    return (
        before
        + b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="'
        + filename.encode()
        + b'"\r\nContent-Type: video/mp4\r\n\r\n'
        + content
        + b"\r\n--frontier--\r\n"
    )


FIELD = b'--frontier\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'


async def in_pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(body: bytes, size: int = 64) -> tuple[str | None, bytes]:
    incoming = await multipart_file(in_pieces(body, size), BOUNDARY)
    return incoming.filename, b"".join([chunk async for chunk in incoming.chunks])


@given(content=st.binary(max_size=500), size=st.integers(1, 600))
async def test_the_content_is_the_same_in_any_pieces(content: bytes, size: int) -> None:
    assert await read(form(content, before=FIELD) + b"epilogue", size) == ("talk.mp4", content)


async def test_content_that_looks_like_a_boundary_is_content() -> None:
    content = b"\r\n--frontie\r\n--fronti\r\n--\r\n"
    assert await read(form(content), 3) == ("talk.mp4", content)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing like a form",
        FIELD + b"--frontier--\r\n",
        form(b"x").replace(b"form-data", b"attachment"),
        b'--frontier\r\nContent-Disposition: form-data; name="note"\r\n\r\n' + b"x" * 100_000,
    ],
    ids=["empty", "garbage", "no-file", "wrong-disposition", "endless-field"],
)
async def test_a_form_without_a_file_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        await read(body, 4096)


@pytest.mark.parametrize("missing", [1, 10, 40])
async def test_a_form_that_breaks_off_is_refused(missing: int) -> None:
    whole = form(b"y" * 200)
    with pytest.raises(InvalidRequest):
        await read(whole[: len(whole) - 2 - missing])
