"""WebSockets of a live session: sound both ways in the words of OpenAI's realtime translation, and all that happens.

Both forward to the node that has the session. Whoever lost the connection comes back with the same token: as the same
speaker, and after the last event seen.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
import structlog
from litestar import Router, WebSocket, websocket
from litestar.datastructures import State
from litestar.exceptions import WebSocketDisconnect, WebSocketException
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from api import errors as api_errors
from api.auth import PUBLIC, origin_allowed
from api.events import CLOSE_NORMAL, sequence, until_it_leaves
from api.live import LiveId
from api.live_access import Admitted, admit
from api.live_realtime import Append, Close, Transcripts, Update, event, said, session_event, sound_event
from api.services import Services, TheServices
from octavia_stream.accounts.api_keys import Scope
from octavia_stream.errors import InvalidRequest, NotFound, OctaviaError
from octavia_stream.languages import Language
from octavia_stream.live.events import LiveRecord, SessionEnded
from octavia_stream.telemetry.metrics import EVENT_CLIENTS

LISTENER_RECHECK_S = 2.0
LONGEST_TEXT = 300_000
"""Characters of one message: a little more than four seconds of sound in base64."""
_END = b'{"type":"end"}'
_SPEAKER = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)
_LOST = "The connection to the live node was lost; come again."

AnySocket = WebSocket[Any, Any, State]
Closing = tuple[int, str]
"""With which code and reason a socket is closed."""
Serve = Callable[[AnySocket, Admitted, Services], Awaitable[Closing]]
log = structlog.stdlib.get_logger(__name__)


@websocket("/{live_id:uuid}/events", opt=PUBLIC)
async def follow(socket: AnySocket, live_id: LiveId, services: TheServices) -> None:
    """Records as JSON texts, those after `after` first. Closes with 1000 after the last one.

    4401: no token, or one that was taken back; 4404: no such session, or it has ended; 1013: its node was lost.
    """
    await _serve(socket, live_id, services, "live:read", _follow)


@websocket("/{live_id:uuid}/socket", opt=PUBLIC)
async def talk(socket: AnySocket, live_id: LiveId, services: TheServices) -> None:
    """Sound both ways. `speaker`: who speaks, `speaker` when left out; `language`: which translation comes back, the
    first when left out; `in=0` only hears, as listeners do; `out=0` only speaks.
    """
    await _serve(socket, live_id, services, "live:write" if _wants(socket, "in") else "live:read", _talk)


async def _serve(socket: AnySocket, live_id: UUID, services: Services, scope: Scope, serve: Serve) -> None:
    if not origin_allowed(socket, services.runtime.settings.api):
        raise WebSocketException(code=api_errors.CLOSE_FORBIDDEN, detail="This page may not connect.")
    await socket.accept()
    with EVENT_CLIENTS.labels("live").track_inprogress():
        try:
            await services.requests.address_asks(socket)
            who = await admit(socket, live_id, scope)
            code, reason = await serve(socket, who, services)
        except OctaviaError as error:
            code, reason = api_errors.close_code_of(error), str(error)
    with suppress(WebSocketException, OSError, RuntimeError):  # the other side may be gone already
        await socket.close(code=code, reason=reason[:120])


async def _follow(socket: AnySocket, who: Admitted, services: Services) -> Closing:
    after = sequence(socket.query_params.get("after", "0"))
    async with services.live.socket(who.session, "events", {"after": str(after)}) as node:

        async def down() -> Closing:
            return await _told(node, lambda text: _send(socket, text))

        return await _first(down(), *_ends(socket, who, services), _left(socket))


async def _talk(socket: AnySocket, who: Admitted, services: Services) -> Closing:
    language = _language(socket, who)
    params = {"language": language, "in": "0", "out": str(int(_wants(socket, "out")))}
    if _wants(socket, "in"):
        who.require_speaker()
        params |= {"in": "1", "speaker": _speaker(socket)}
    async with services.live.socket(who.session, "socket", params) as node:
        if params["in"] == "1":
            await services.runtime.live.somebody_speaks(who.session.id)
        talk = _Talk(socket, node, who, services, language)
        await talk.tell(session_event("session.created", who.session, language))
        return await _first(talk.down(), talk.up(), *_ends(socket, who, services))


class _Talk:
    """One client that speaks, or hears, or both."""

    def __init__(
        self, socket: AnySocket, node: ClientConnection, who: Admitted, services: Services, language: Language
    ) -> None:
        self._socket = socket
        self._node = node
        self._who = who
        self._services = services
        self._language = language
        self._transcripts = Transcripts(language)
        self._ending: asyncio.Task[None] | None = None

    async def tell(self, what: dict[str, Any]) -> None:
        """Send an event."""
        await _send(self._socket, msgspec.json.encode(what).decode())

    async def down(self) -> Closing:
        """What the node says, until the session ends."""
        return await _told(self._node, self._tell_record, lambda pcm: self.tell(sound_event(pcm)))

    async def up(self) -> Closing:
        """What the client says, until it leaves."""
        try:
            while True:
                message: dict[str, Any] = dict(await self._socket.receive())
                if message["type"] == "websocket.disconnect":
                    return CLOSE_NORMAL, ""
                try:
                    await self._heard(message.get("text"), message.get("bytes"))
                except InvalidRequest as error:
                    about = {"type": "invalid_request_error", "code": error.code, "message": str(error)}
                    await self.tell(event("error", error=about))
        except (ConnectionClosed, WebSocketDisconnect):
            return api_errors.CLOSE_TRY_AGAIN, _LOST
        finally:
            if self._ending is not None:
                await asyncio.shield(self._ending)

    async def _heard(self, text: str | None, pcm: bytes | None) -> None:
        """Raises InvalidRequest."""
        if text is None:
            await self._node.send(pcm or b"")
            return
        if len(text) > LONGEST_TEXT:
            raise InvalidRequest("The event is too long.")
        match said(text):
            case Append() as sound:
                await self._node.send(sound.pcm())
            case Update() as update:
                if update.language() not in (None, self._language):
                    raise InvalidRequest("The language cannot be changed; open another socket with '?language='.")
                await self.tell(session_event("session.updated", self._who.session, self._language))
            case Close():
                await self._close()

    async def _close(self) -> None:
        """Who speaks ends the session; who only hears just leaves."""
        await self._node.send(_END.decode())
        if self._ending is None and _wants(self._socket, "in"):
            self._ending = asyncio.create_task(self._end(), name="live: end")

    async def _end(self) -> None:
        try:
            await self._services.live.end(self._who.session, "closed")
        except OctaviaError as error:
            # It was asked for: its node ends it, or the sweep.
            log.info("live_end_later", session_id=str(self._who.session.id), reason=str(error))

    async def _tell_record(self, text: str) -> None:
        what = self._transcripts.event(msgspec.json.decode(text, type=LiveRecord))
        if what is not None:
            await self.tell(what)


async def _told(
    node: ClientConnection,
    record: Callable[[str], Awaitable[None]],
    sound: Callable[[bytes], Awaitable[None]] | None = None,
) -> Closing:
    """Pass on what a node says, until it says no more."""
    ended = False
    with suppress(ConnectionClosed):
        async for message in node:
            if isinstance(message, str):
                ended = ended or isinstance(msgspec.json.decode(message, type=LiveRecord).event, SessionEnded)
                await record(message)
            elif sound is not None:
                await sound(message)
    return (CLOSE_NORMAL, "") if ended else (api_errors.CLOSE_TRY_AGAIN, _LOST)


async def _send(socket: AnySocket, text: str) -> None:
    """A client that is gone is noticed by who reads from it."""
    with suppress(WebSocketException, OSError, RuntimeError):
        await socket.send_text(text)


def _ends(socket: AnySocket, who: Admitted, services: Services) -> list[Coroutine[Any, Any, Closing]]:
    """What ends a socket from this side."""

    async def stopping() -> Closing:
        await services.closing.wait()
        return api_errors.CLOSE_RESTARTING, "The server restarts."

    async def withdrawn() -> Closing:
        await services.standing.lost(who.grant)
        return api_errors.CLOSE_UNAUTHENTICATED, "What opened this has ended; log in again."

    async def taken_back(listener_id: UUID) -> Closing:
        stands = True
        while stands:
            await asyncio.sleep(LISTENER_RECHECK_S)
            with suppress(OctaviaError):
                stands = await services.runtime.live.listener_stands(listener_id)
        return api_errors.CLOSE_UNAUTHENTICATED, "This link was taken back."

    listener_id = who.opened.listener_id
    return [stopping(), withdrawn(), *([taken_back(listener_id)] if listener_id is not None else [])]


async def _left(socket: AnySocket) -> Closing:
    await until_it_leaves(socket)
    return CLOSE_NORMAL, ""


async def _first(*ends: Coroutine[Any, Any, Closing]) -> Closing:
    """The first that is over says with what the socket closes; the others are cancelled."""
    tasks = [asyncio.create_task(end) for end in ends]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _wants(socket: AnySocket, way: str) -> bool:
    return socket.query_params.get(way, "1") != "0"


def _speaker(socket: AnySocket) -> str:
    speaker: str = socket.query_params.get("speaker", "speaker")
    if not _SPEAKER.fullmatch(speaker):
        raise InvalidRequest("A speaker's name has up to 40 letters, digits, '_' and '-'.")
    return speaker


def _language(socket: AnySocket, who: Admitted) -> Language:
    """Raises NotFound when the session is not heard in it."""
    targets = who.session.options.targets
    wanted = socket.query_params.get("language", targets[0].language)
    for target in targets:
        if target.language == wanted:
            return target.language
    raise NotFound("This session is not heard in this language.")


sockets = Router("", route_handlers=[follow, talk])
