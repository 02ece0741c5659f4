"""What happens to all of somebody's jobs: over WebSocket, and as Server-Sent Events on the same path.

Each event has a number in the row of all of them, by which a client that lost its connection comes back. These streams
have no end of their own.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, WebSocket, get, websocket
from litestar.datastructures import State
from litestar.exceptions import WebSocketException
from litestar.params import QueryParameter
from litestar.response import ServerSentEvent
from litestar.response.sse import ServerSentEventMessage

from api import errors as api_errors
from api.auth import PROTECTED, PUBLIC, TICKET_SCHEME, grant_of, identify_socket, origin_allowed
from api.errors import problems
from api.events import HEARTBEAT_S, MAX_SEQ, READ, RETRY_MS, sequence, until_it_leaves
from api.identity import Identity, for_keys
from api.services import Services, TheServices, WhoAsks
from octavia_stream.errors import OctaviaError
from octavia_stream.events.event import OwnerEventRecord
from octavia_stream.telemetry.metrics import EVENT_CLIENTS

SEND_S = 10.0
"""A client that does not take a message for so long is cut; it comes back with the number it has."""
CLOSE_NORMAL = 1000

AfterNumber = Annotated[
    int | None,
    QueryParameter(ge=0, le=MAX_SEQ, description="Number of the last event seen; without it only what comes is told."),
]


@get(
    "/events",
    operation_id="streamEvents",
    summary="Follow all my jobs (Server-Sent Events, or a WebSocket on the same path)",
    media_type="text/event-stream",
    opt={TICKET_SCHEME: True, **for_keys(READ)},
    security=[*PROTECTED, {TICKET_SCHEME: []}],
    responses=problems(401),
    tags=["jobs"],
)
async def stream_events(
    request: Request[UUID, None, State], identity: WhoAsks, services: TheServices, after: AfterNumber = None
) -> ServerSentEvent:
    """Each event's `id` is its number, `event` its type and `data` the record.

    `Last-Event-ID`, which a browser sends when it reconnects, wins over `after`.
    """
    seen = request.headers.get("last-event-id")
    start = after if seen is None else sequence(seen)
    return ServerSentEvent(_messages(identity, await _start(services, identity, start), services))


async def _start(services: Services, identity: Identity, after: int | None) -> int:
    return await services.runtime.owner_feed.head(identity.account_id) if after is None else after


async def _messages(identity: Identity, after: int, services: Services) -> AsyncIterator[ServerSentEventMessage]:
    yield ServerSentEventMessage(data=None, comment="following", retry=RETRY_MS, id=after)
    closing = asyncio.ensure_future(services.closing.wait())
    lost = services.standing.lost(grant_of(identity))
    with EVENT_CLIENTS.labels("sse").track_inprogress():
        async with aclosing(_records_or_silence(services, identity, after, closing, lost)) as records:
            async for record in records:
                if record is None:
                    yield ServerSentEventMessage(data=None, comment="heartbeat")
                    continue
                kind = str(type(record.event).__struct_config__.tag)
                yield ServerSentEventMessage(data=msgspec.json.encode(record), event=kind, id=record.id)


@websocket("/events", opt=PUBLIC)
async def watch_all(socket: WebSocket[Any, Any, State], services: TheServices) -> None:
    """The same records as JSON texts.

    4401: no valid token or ticket, or what opened it has ended; 4400: `after` is not a number; 1013: too slow, and the
    reason says where to go on.
    """
    if not origin_allowed(socket, services.runtime.settings.api):
        raise WebSocketException(code=api_errors.CLOSE_FORBIDDEN, detail="This page may not connect.")
    await socket.accept()
    with EVENT_CLIENTS.labels("websocket").track_inprogress():
        code, reason = await _serve(socket, services)
    with suppress(WebSocketException, OSError, RuntimeError, TimeoutError):  # the other side may be gone already
        async with asyncio.timeout(SEND_S):
            await socket.close(code=code, reason=reason)


async def _serve(socket: WebSocket[Any, Any, State], services: Services) -> tuple[int, str]:
    """Send until the client leaves or may no longer listen, or the server stops; returns what to close with."""
    try:
        identity = await identify_socket(socket, READ)
        asked = socket.query_params.get("after")
        after = await _start(services, identity, None if asked is None else sequence(asked))
    except OctaviaError as error:
        return api_errors.close_code_of(error), str(error)
    left = asyncio.ensure_future(until_it_leaves(socket))
    closing = asyncio.ensure_future(services.closing.wait())
    lost = services.standing.lost(grant_of(identity))
    try:
        async with aclosing(_records_or_silence(services, identity, after, left, closing, lost)) as records:
            async for record in records:
                if record is not None:
                    async with asyncio.timeout(SEND_S):
                        await socket.send_text(msgspec.json.encode(record).decode())
                    after = record.id
    except TimeoutError:
        return api_errors.CLOSE_TRY_AGAIN, f"Too slow; come back with after={after}."
    except OctaviaError as error:
        return api_errors.close_code_of(error), str(error)
    if lost.done() and not lost.cancelled():
        return api_errors.CLOSE_UNAUTHENTICATED, "What opened this has ended; log in again."
    return (api_errors.CLOSE_RESTARTING, "The server restarts.") if services.closing.is_set() else (CLOSE_NORMAL, "")


async def _records_or_silence(
    services: Services, identity: Identity, after: int, *ends: asyncio.Future[Any]
) -> AsyncGenerator[OwnerEventRecord | None]:
    """Records after `after`, and None for every `HEARTBEAT_S` of silence, until one of `ends` is done."""
    records = services.runtime.owner_feed.follow(identity.account_id, after)
    following: asyncio.Future[OwnerEventRecord] | None = None
    try:
        while not any(end.done() for end in ends):
            following = following or asyncio.ensure_future(anext(records))
            done, _ = await asyncio.wait({following, *ends}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                yield None
            if following in done:
                record, following = following.result(), None
                yield record
    finally:
        waiting = [future for future in (following, *ends) if future is not None]
        for future in waiting:
            future.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await records.aclose()
