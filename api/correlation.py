"""What wraps every exchange: a request id, one log line, and the headers that keep browsers safe.

It stands outside of Litestar's router, so it also covers routes that do not exist.
"""

import asyncio
import re
import time
from uuid import uuid4

import structlog
from litestar.datastructures import MutableScopeHeaders
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from octavia_stream.telemetry.metrics import HTTP_REQUEST
from octavia_stream.telemetry.tracing import span

REQUEST_ID_HEADER = "X-Request-ID"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
HSTS = "max-age=31536000"
"""A year (RFC 6797); only over TLS, where browsers heed it."""
NO_STORE = "no-store"
"""What the api says belongs to one user; no cache may keep it unless the route says otherwise."""

SEND_DEADLINE_S = 30.0
"""How long a client may leave a piece of its answer unread (64 kB at most) before the exchange is given up."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})

log = structlog.stdlib.get_logger(__name__)


class Correlation:
    """ASGI wrapper; `app` is the rest of the application."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = _request_id(scope)
        exchange = _Exchange(request_id, send, over_tls=scope.get("scheme") in ("https", "wss"))
        parent = _header(scope, b"traceparent")
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            span("request", parent=parent, side="asked", attributes={"request.id": request_id}) as traced,
        ):
            try:
                await self.app(scope, receive, exchange.send)
            except Exception:
                # Litestar wraps it, and the server can do no more than close the connection.
                if not exchange.stuck:
                    raise
                log.info("client_too_slow", path=scope["path"])
            finally:
                seconds = time.monotonic() - exchange.started
                method = str(scope.get("method", "WEBSOCKET"))
                _count(scope, method, exchange.status, seconds)
                traced.rename(f"{method} {scope.get('path_template') or 'none'}")
                traced.set(**{"http.response.status_code": exchange.status or 0})
                log.info(
                    "request", method=method, path=scope["path"], status=exchange.status, seconds=round(seconds, 4)
                )


class _Exchange:
    """One request and its answer."""

    def __init__(self, request_id: str, send: Send, *, over_tls: bool) -> None:
        """over_tls: whether the client came so, to us or to a proxy that we believe."""
        self._request_id = request_id
        self._send = send
        self._over_tls = over_tls
        self.started = time.monotonic()
        self.status: int | None = None
        """HTTP status, or the code a WebSocket was closed with by this side."""
        self.stuck = False
        """Whether the client stopped reading."""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableScopeHeaders.from_message(message)
            headers[REQUEST_ID_HEADER] = self._request_id
            headers.setdefault("Cache-Control", NO_STORE)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            if self._over_tls:
                headers.setdefault("Strict-Transport-Security", HSTS)
        elif message["type"] == "websocket.close":
            self.status = message["code"]
        try:
            async with asyncio.timeout(SEND_DEADLINE_S):
                await self._send(message)
        except TimeoutError:
            self.stuck = True
            raise


def _count(scope: Scope, method: str, status: int | None, seconds: float) -> None:
    """By the route and not by the path: those hold ids, and anybody may make them up, as they may methods."""
    route = scope.get("path_template") or "none"
    known = method if method in METHODS else "other"
    HTTP_REQUEST.labels(known, route, "none" if status is None else str(status)).observe(seconds)


def _request_id(scope: Scope) -> str:
    """The client's own id when it is a harmless one, else a new one."""
    given = _header(scope, REQUEST_ID_HEADER.lower().encode()) or ""
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex


def _header(scope: Scope, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)
