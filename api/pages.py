"""The pages of live sessions, and the modules they are made of: files of this package, as they are."""

from pathlib import Path

from litestar import MediaType, Response, Router, get
from litestar.static_files import create_static_files_router

from api.auth import PUBLIC

WEB = Path(__file__).parent / "web"
HEADERS = {
    # Scripts and styles of our own alone, and no inline ones: what somebody says is never run as code.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self' blob: mediastream:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self), camera=()",
    "Cache-Control": "no-cache",
}


@get("/live", opt=PUBLIC, include_in_schema=False)
async def speak_page() -> Response[bytes]:
    """Where somebody speaks."""
    return _page("live.html")


@get("/live/listen", opt=PUBLIC, include_in_schema=False)
async def listen_page() -> Response[bytes]:
    """Where somebody listens; what to, stands behind the `#` of the address."""
    return _page("listen.html")


def pages_router() -> Router:
    """The pages and `/live/assets`."""
    assets = create_static_files_router("/live/assets", [WEB], opt=PUBLIC, include_in_schema=False)
    return Router("/", route_handlers=[speak_page, listen_page, assets], response_headers=HEADERS)


def _page(name: str) -> Response[bytes]:
    return Response((WEB / name).read_bytes(), media_type=MediaType.HTML)
