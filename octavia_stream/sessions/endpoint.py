"""The private door of a live node, through aiohttp: what the api forwards of its clients' signalling.

Nobody else is let in: requests carry `node_token`. Errors are problems as in api/errors.py, with `code` and `detail`,
so that the api passes them on as they are. docs/why/live-transport.md lists the routes.
"""

import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import structlog
from aiohttp import WSMsgType, web
from pydantic import SecretStr

from octavia_stream import errors
from octavia_stream.languages import Language, parse_language
from octavia_stream.sessions.hosted import Answer, HostedSession
from octavia_stream.sessions.node_token import node_token
from octavia_stream.sessions.socket_sound import SocketEars, SocketVoice
from octavia_stream.sessions.supervisor import NewSession, Node, Supervisor
from octavia_stream.webrtc.offer import LARGEST_SDP

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_S = 5
LARGEST_BODY = 256 * 1024
LARGEST_MESSAGE = 1024 * 1024
"""Of a WebSocket: 21 s of sound."""
HEARTBEAT_S = 10.0
SHUTDOWN_S = 2.0
STATUS: dict[type[errors.OctaviaError], int] = {
    errors.InvalidRequest: 400,
    errors.Unauthorized: 401,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.LeaseLost: 409,
    errors.MediaTooLarge: 413,
    errors.MediaRejected: 422,
    errors.UnsupportedLanguage: 422,
    errors.ModelMissing: 422,
}
"""The others are 503: whoever tries again later, or at another node, may be served."""
_SPEAKER = re.compile(r"[A-Za-z0-9_-]{1,40}")
_SUPERVISOR = web.AppKey("supervisor", Supervisor)
_TOKEN = web.AppKey("token", str)
_T = TypeVar("_T")

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SessionCard(msgspec.Struct, frozen=True):
    """What `GET /sessions/{id}` says."""

    session_id: UUID
    speaking: bool
    peers: list[dict[str, str]]
    load: Any


class NodeEndpoint:
    """Listens from `__aenter__` on."""

    def __init__(self, supervisor: Supervisor, secret_key: SecretStr, host: str) -> None:
        self._app = application(supervisor, secret_key)
        self._host = host
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        self.port = 0

    async def __aenter__(self) -> "NodeEndpoint":
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, 0)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def node(self, node_id: str, reachable_at: str | None = None) -> Node:
        """How it is found. reachable_at: when it listens at every address."""
        return Node(node_id, f"http://{reachable_at or self._host}:{self.port}")


def application(supervisor: Supervisor, secret_key: SecretStr) -> web.Application:
    """The routes."""
    app = web.Application(middlewares=[_problems, _authorized], client_max_size=LARGEST_BODY)
    app[_SUPERVISOR] = supervisor
    app[_TOKEN] = node_token(secret_key)
    app.add_routes(
        [
            web.post("/sessions", open_session),
            web.get("/sessions/{id}", read_session),
            web.delete("/sessions/{id}", close_session),
            web.post("/sessions/{id}/ingest", ingest),
            web.post("/sessions/{id}/listen/{language}", listen),
            web.patch("/sessions/{id}/peers/{peer}", trickle),
            web.delete("/sessions/{id}/peers/{peer}", hang_up),
            web.get("/sessions/{id}/socket", socket),
            web.get("/sessions/{id}/events", events),
            web.get("/load", load),
        ]
    )
    return app


async def open_session(request: web.Request) -> web.StreamResponse:
    """201, 409 when it is here, 503 when there is no capacity."""
    try:
        new = msgspec.json.decode(await request.read(), type=NewSession)
    except msgspec.MsgspecError as error:
        raise errors.InvalidRequest(f"The session cannot be read: {error}") from error
    await request.app[_SUPERVISOR].open(new)
    return web.Response(status=201)


async def read_session(request: web.Request) -> web.StreamResponse:
    """200."""
    session = _session(request)
    peers = [{"id": peer.id, "direction": peer.direction, "state": peer.state} for peer in session.peers()]
    return _json(SessionCard(session.lease.session_id, session.speaking, peers, session.room.load()))


async def close_session(request: web.Request) -> web.StreamResponse:
    """204 when it has ended and that is written down."""
    await request.app[_SUPERVISOR].close(_session_id(request), request.query.get("reason", "closed"))
    return web.Response(status=204)


async def ingest(request: web.Request) -> web.StreamResponse:
    """WHIP's POST."""
    session = _session(request)
    return _answered(await session.ingest(_speaker(request), await _sdp(request, SDP)))


async def listen(request: web.Request) -> web.StreamResponse:
    """WHEP's POST."""
    session = _session(request)
    return _answered(await session.listen(_language(request.match_info["language"]), await _sdp(request, SDP)))


async def trickle(request: web.Request) -> web.StreamResponse:
    """WHIP's PATCH (RFC 9725, section 4.3): candidates are taken, ICE restarts are not."""
    session = _session(request)
    peer = session.peer(request.match_info["peer"])
    fragment = await _sdp(request, FRAGMENT)
    match = request.headers.get("If-Match")
    if match is None:
        return _problem(428, "precondition_required", "Say by If-Match which connection the candidates are for.")
    if match == "*":
        raise errors.MediaRejected("ICE cannot be restarted here; connect anew.")
    if match != peer.etag:
        return _problem(412, "precondition_failed", "If-Match names another connection than this one.")
    await session.trickle(peer.id, fragment)
    return web.Response(status=204)


async def hang_up(request: web.Request) -> web.StreamResponse:
    """WHIP's DELETE."""
    await _session(request).hang_up(request.match_info["peer"])
    return web.Response(status=200)


async def socket(request: web.Request) -> web.StreamResponse:
    """Sound both ways as PCM of 16 bits at 24 kHz, and records down; `in=0` or `out=0` leaves one way out."""
    session = _session(request)
    language = _language(request.query["language"]) if "language" in request.query else None
    speaker = _speaker(request) if request.query.get("in", "1") == "1" else None
    hears = language is not None and request.query.get("out", "1") == "1"
    after = _number(request)
    ws = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=LARGEST_MESSAGE)
    async with AsyncExitStack() as opened:
        tasks: list[asyncio.Task[None]] = []
        opened.push_async_callback(_cancelled, tasks)
        listener = session.room.listen(language) if hears and language is not None else None
        if listener is not None:
            opened.callback(listener.close)
        line = await session.open_socket(speaker) if speaker is not None else None
        ears = SocketEars(line.push if line is not None else None)
        if line is not None:
            opened.callback(session.close_line, line, "disconnected")
        opened.callback(ears.finish)
        # Whoever is gone by now, or never meant to upgrade, leaves nothing open.
        await ws.prepare(request)
        tasks.append(asyncio.create_task(_send_records(ws, session, after), name="socket records"))
        if listener is not None:
            tasks.append(asyncio.create_task(_send_sound(ws, SocketVoice(listener)), name="socket sound"))
        async for message in ws:
            if message.type == WSMsgType.BINARY:
                ears.hear(message.data)
            elif message.type == WSMsgType.TEXT and _is_end(message.data):
                ears.finish()
                # Who has finished speaking wants to hear the rest.
                if line is not None:
                    session.close_line(line, "left")
    return ws


async def events(request: web.Request) -> web.StreamResponse:
    """Records after a number, and those to come."""
    session = _session(request)
    after = _number(request)
    ws = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=LARGEST_BODY)
    await ws.prepare(request)
    sending = asyncio.create_task(_send_records(ws, session, after), name="socket records")
    try:
        async for _ in ws:
            continue
    finally:
        await _cancelled([sending])
    return ws


async def load(request: web.Request) -> web.StreamResponse:
    """How much the node does."""
    return _json(request.app[_SUPERVISOR].load())


@web.middleware
async def _authorized(request: web.Request, handler: Handler) -> web.StreamResponse:
    shown = request.headers.get("Authorization", "")
    if not hmac.compare_digest(shown.encode(), f"Bearer {request.app[_TOKEN]}".encode()):
        raise errors.Unauthorized("This door is for the api alone.")
    return await handler(request)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except errors.OctaviaError as error:
        status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 503)
        return _problem(status, error.code, str(error))
    except web.HTTPException as error:
        return _problem(error.status, "invalid_request", f"{error.reason}.")


def _problem(status: int, code: str, detail: str) -> web.Response:
    body = msgspec.json.encode({"status": status, "code": code, "detail": detail})
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
    return web.Response(status=status, body=body, content_type=PROBLEM_JSON, headers=headers)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _answered(answer: Answer) -> web.Response:
    headers = {"X-Peer-Id": answer.peer_id, "ETag": answer.etag}
    return web.Response(status=201, text=answer.sdp, content_type=SDP, headers=headers)


def _session_id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError as error:
        raise errors.NotFound("This live session is not here.") from error


def _session(request: web.Request) -> HostedSession:
    return request.app[_SUPERVISOR].session(_session_id(request))


def _speaker(request: web.Request) -> str:
    speaker = request.query.get("speaker", "speaker")
    if not _SPEAKER.fullmatch(speaker):
        raise errors.InvalidRequest("A speaker's name has up to 40 letters, digits, '_' and '-'.")
    return speaker


def _language(text: str) -> Language:
    return parse_language(text)


def _number(request: web.Request) -> int:
    text = request.query.get("after", "-1")
    try:
        return int(text)
    except ValueError as error:
        raise errors.InvalidRequest("'after' is the number of an event.") from error


async def _sdp(request: web.Request, content_type: str) -> str:
    if request.content_type != content_type:
        raise web.HTTPUnsupportedMediaType(reason=f"This takes {content_type}")
    body = await request.read()
    if len(body) > LARGEST_SDP:
        raise errors.MediaTooLarge("The body is too large.")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise errors.InvalidRequest("The body is not UTF-8.") from error


def _is_end(text: str) -> bool:
    with suppress(msgspec.MsgspecError):
        message = msgspec.json.decode(text)
        return isinstance(message, dict) and message.get("type") == "end"
    return False


async def _send_records(ws: web.WebSocketResponse, session: HostedSession, after: int) -> None:
    encoder = msgspec.json.Encoder()
    with suppress(ConnectionError):
        async for record in session.events(after):
            await ws.send_str(encoder.encode(record).decode())
        await ws.close()


async def _send_sound(ws: web.WebSocketResponse, voice: SocketVoice) -> None:
    with suppress(ConnectionError):
        async for block in voice:
            await ws.send_bytes(block)


async def _cancelled(tasks: list[asyncio.Task[_T]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
