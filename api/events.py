"""What happens to a job, as it happens: over WebSocket, and as Server-Sent Events on the same path.

Both tell every event after a sequence number exactly once and in order, then end. A client that lost its
connection comes back with the last number it saw.
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
from api.identity import Identity, for_keys
from api.services import JobId, OwnerId, Services, TheServices, WhoAsks
from octavia_stream.accounts.api_keys import Scope
from octavia_stream.errors import InvalidRequest, OctaviaError
from octavia_stream.events.event import TERMINAL_EVENTS, JobEventRecord
from octavia_stream.telemetry.metrics import EVENT_CLIENTS

HEARTBEAT_S = 15.0
"""Silence this long is broken by a comment, so that proxies keep the connection."""
RETRY_MS = 1000
"""How long a browser's EventSource waits before it comes back."""
CLOSE_NORMAL = 1000
READ: Scope = "jobs:read"
MAX_SEQ = 2**53
"""The greatest whole number that JSON can carry everywhere."""


@get(
    "/{job_id:uuid}/events",
    operation_id="streamJobEvents",
    summary="Follow a job (Server-Sent Events, or a WebSocket on the same path)",
    media_type="text/event-stream",
    opt={TICKET_SCHEME: True, **for_keys(READ)},
    security=[*PROTECTED, {TICKET_SCHEME: []}],
    responses=problems(401, 404),
)
async def stream_job_events(
    request: Request[UUID, None, State],
    job_id: JobId,
    owner_id: OwnerId,
    identity: WhoAsks,
    services: TheServices,
    after: Annotated[int, QueryParameter(ge=0, le=MAX_SEQ, description="Sequence number of the last event seen.")] = 0,
) -> ServerSentEvent:
    """Each event's `id` is its sequence number, `event` its type and `data` the record.

    `Last-Event-ID`, which a browser sends when it reconnects, wins over `after`.
    """
    seen = request.headers.get("last-event-id")
    start = after if seen is None else sequence(seen)
    await services.runtime.jobs.get(job_id, owner_id)
    return ServerSentEvent(_messages(job_id, start, identity, services))


async def _messages(
    job_id: UUID, after: int, identity: Identity, services: Services
) -> AsyncIterator[ServerSentEventMessage]:
    yield ServerSentEventMessage(data=None, comment="following", retry=RETRY_MS)
    closing = asyncio.ensure_future(services.closing.wait())
    lost = services.standing.lost(grant_of(identity, job_id))
    with EVENT_CLIENTS.labels("sse").track_inprogress():
        async with aclosing(records_or_silence(services, job_id, after, closing, lost)) as records:
            async for record in records:
                yield _message(record)


def _message(record: JobEventRecord | None) -> ServerSentEventMessage:
    """One record, or the comment that breaks a silence."""
    if record is None:
        return ServerSentEventMessage(data=None, comment="heartbeat")
    kind = str(type(record.event).__struct_config__.tag)
    return ServerSentEventMessage(data=msgspec.json.encode(record), event=kind, id=record.seq)


@websocket("/{job_id:uuid}/events", opt=PUBLIC)
async def watch_job(socket: WebSocket[Any, Any, State], job_id: JobId, services: TheServices) -> None:
    """The same records as JSON texts. Closes with 1000 after the last one.

    4401: no valid token or ticket; 4404: no such job of yours; 4400: `after` is not a number;
    4429: too many requests.
    """
    if not origin_allowed(socket, services.runtime.settings.api):
        raise WebSocketException(code=api_errors.CLOSE_FORBIDDEN, detail="This page may not connect.")
    await socket.accept()
    with EVENT_CLIENTS.labels("websocket").track_inprogress():
        code, reason = await _serve(socket, job_id, services)
    with suppress(WebSocketException, OSError, RuntimeError):  # the other side may be gone already
        await socket.close(code=code, reason=reason)


async def _serve(socket: WebSocket[Any, Any, State], job_id: UUID, services: Services) -> tuple[int, str]:
    """Send until the job ends, the client leaves or the server stops; returns what to close with."""
    try:
        identity = await identify_socket(socket, READ)
        owner_id = await services.access.owner_of_job(job_id, identity.account_id, "jobs:read")
        await services.runtime.jobs.get(job_id, owner_id)
        after = sequence(socket.query_params.get("after", "0"))
    except OctaviaError as error:
        return api_errors.close_code_of(error), str(error)
    left = asyncio.ensure_future(until_it_leaves(socket))
    closing = asyncio.ensure_future(services.closing.wait())
    lost = services.standing.lost(grant_of(identity, job_id))
    try:
        async with aclosing(records_or_silence(services, job_id, after, left, closing, lost)) as records:
            async for record in records:
                if record is not None:
                    await socket.send_text(msgspec.json.encode(record).decode())
    except OctaviaError as error:
        return api_errors.close_code_of(error), str(error)
    if lost.done() and not lost.cancelled():
        return api_errors.CLOSE_UNAUTHENTICATED, "What opened this has ended; log in again."
    return (api_errors.CLOSE_RESTARTING, "The server restarts.") if services.closing.is_set() else (CLOSE_NORMAL, "")


async def until_it_leaves(socket: WebSocket[Any, Any, State]) -> None:
    """Read and drop what the client says; return when it has gone."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def records_or_silence(
    services: Services, job_id: UUID, after: int, *ends: asyncio.Future[Any]
) -> AsyncGenerator[JobEventRecord | None]:
    """Records after `after` up to the terminal one, and None for every `HEARTBEAT_S` of silence.

    Ends early when one of `ends` is done; cancels them when it ends itself.
    """
    records = services.runtime.feed.subscribe(job_id, after)
    following: asyncio.Future[JobEventRecord] | None = None
    try:
        while not any(end.done() for end in ends):
            following = following or asyncio.ensure_future(anext(records))
            done, _ = await asyncio.wait({following, *ends}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                yield None
            if following not in done:
                continue
            try:
                record = following.result()
            except StopAsyncIteration:
                return
            following = None
            yield record
            if isinstance(record.event, TERMINAL_EVENTS):
                return
    finally:
        waiting = [future for future in (following, *ends) if future is not None]
        for future in waiting:
            future.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await records.aclose()


def sequence(text: str) -> int:
    """A sequence number out of a header or a query. Raises InvalidRequest."""
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise InvalidRequest("The last event id must be a whole number, 0 or greater.")
    return int(text)
