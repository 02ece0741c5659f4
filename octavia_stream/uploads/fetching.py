"""A file that a user names by its address, as a stream; see `net/guarded_http.py` for where it may come from."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import httpx

from octavia_stream.config import OutboundSettings
from octavia_stream.errors import AddressRefused, MediaRejected, SourceUnavailable
from octavia_stream.net.guarded_http import check_url, guarded_client
from octavia_stream.uploads.arrival import too_large

SILENCE_S = 20.0
"""How long the other side may say nothing."""
_NAME = re.compile(r"filename\s*=\s*\"?([^\";]+)", re.IGNORECASE)
_OK = 200


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on its way: read `chunks` once."""

    name: str
    """As its server or its address calls it; empty when neither does."""
    chunks: AsyncIterator[bytes]


@asynccontextmanager
async def remote_file(url: str, settings: OutboundSettings, limit: int) -> AsyncIterator[RemoteFile]:
    """Ask for a file. limit: bytes, of which a longer one is refused at once when it says its length.

    Raises AddressRefused, MediaTooLarge, MediaRejected (it cannot be had, takes too long, is a page), SourceUnavailable
    (its server does not answer; a retry may help); all of them also while it is read.
    """
    check_url(url, settings)
    try:
        async with (
            asyncio.timeout(settings.fetch_s),
            guarded_client(settings, timeout_s=SILENCE_S, max_redirects=settings.max_redirects) as client,
            # What is packed for the way could unpack to anything.
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
        ):
            _require_file(answer, limit)
            yield RemoteFile(_name(answer), answer.aiter_raw())
    except TimeoutError as error:
        raise MediaRejected(f"The file took longer than {settings.fetch_s:.0f} seconds to come.") from error
    except httpx.TooManyRedirects as error:
        raise AddressRefused("The address leads on and on, and to no file.") from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise AddressRefused("The address leads to one that is not of the web.") from error
    except httpx.HTTPError as error:
        raise SourceUnavailable("The server at that address does not answer, or broke off; try again later.") from error


def _require_file(answer: httpx.Response, limit: int) -> None:
    if answer.status_code != _OK:
        raise MediaRejected(f"The server at that address answers {answer.status_code} instead of a file.")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise MediaRejected("The server at that address sends the file packed, which was not asked for.")
    if answer.headers.get("content-type", "").partition(";")[0].strip().lower() in {
        "text/html",
        "application/xhtml+xml",
    }:
        raise MediaRejected("There is a page at that address and not a file; give the address of the file itself.")
    length = answer.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and len(length) < 19 and int(length) > limit:
        raise too_large(limit)


def _name(answer: httpx.Response) -> str:
    found = _NAME.search(answer.headers.get("content-disposition", ""))
    return found[1].strip() if found else unquote(PurePosixPath(urlsplit(str(answer.url)).path).name)
