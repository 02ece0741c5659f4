"""One request that a worker answers: held credits, the worker's words, and what was delivered charged."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import structlog
from litestar import Request
from litestar.datastructures import State
from litestar.response.sse import ServerSentEventMessage

from api.errors import problem_of
from api.openai_errors import OpenAIError, fault_of
from octavia_stream.billing.transfer import Hold
from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.errors import DependencyUnavailable, InvalidRequest, OctaviaError
from octavia_stream.instant.call import Call, Finished, Heard, Reply, Sound
from octavia_stream.jobs.job import JobKind
from octavia_stream.runtime import Runtime

T = TypeVar("T")
log = structlog.get_logger()


async def exchange(
    runtime: Runtime, owner_id: UUID, call: Call, kind: JobKind, quoted_s: float, *, told_at_once: bool
) -> AsyncGenerator[Reply]:
    """Everything the worker says. quoted_s: what is held for it, in seconds of sound.

    told_at_once: what came before an error has reached the client, and is charged; else only a whole answer is.
    Raises InsufficientCredits, and what `Switchboard.call` raises.
    """
    hold = await runtime.call_charges.hold(owner_id, call.id, kind, quoted_s)
    crash_point(CrashPoint.CALL_HELD)
    delivered_s = 0.0
    try:
        async with aclosing(runtime.switchboard.call(owner_id, call)) as replies:
            async for reply in replies:
                match reply:
                    case Finished():
                        delivered_s = reply.seconds
                    case Heard() if told_at_once:
                        delivered_s = reply.end_s
                    case Sound() if told_at_once:
                        delivered_s = reply.spoken_s
                yield reply
    finally:
        await asyncio.shield(_settle(runtime, hold, call.id, kind, delivered_s))


async def _settle(runtime: Runtime, hold: Hold | None, call_id: UUID, kind: JobKind, seconds: float) -> None:
    crash_point(CrashPoint.CALL_ANSWERED)
    try:
        await runtime.call_charges.settle(hold, call_id, kind, seconds)
    except DependencyUnavailable as error:
        # The hold ends by itself, and the answer was for nothing.
        log.warning("call_not_settled", reason=str(error))
    crash_point(CrashPoint.CALL_SETTLED)


async def unless_they_leave(request: Request[UUID, Any, State], work: Coroutine[Any, Any, T]) -> T:
    """Do the work while the client waits for it. Raises InvalidRequest, to nobody, when it has gone."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_until_they_leave(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise InvalidRequest("The client has gone.")
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _until_they_leave(request: Request[UUID, Any, State]) -> None:
    """The body has been read: the next message says that the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def opened(replies: AsyncGenerator[Reply]) -> AsyncGenerator[Reply]:
    """The same, with the first reply here already: what fails before it is answered with a status of its own."""
    try:
        first = await anext(replies)
    except BaseException:
        await replies.aclose()
        raise
    return _again(first, replies)


async def _again(first: Reply, rest: AsyncGenerator[Reply]) -> AsyncGenerator[Reply]:
    async with aclosing(rest):
        yield first
        async for reply in rest:
            yield reply


async def as_events(
    replies: AsyncGenerator[Reply], event_of: Callable[[Reply], msgspec.Struct], path: str
) -> AsyncGenerator[ServerSentEventMessage]:
    """Server-Sent Events, as OpenAI's clients read them: an error is the last of them, in OpenAI's shape."""
    try:
        async with aclosing(replies):
            async for reply in replies:
                yield ServerSentEventMessage(data=msgspec.json.encode(event_of(reply)))
    except OctaviaError as error:
        yield ServerSentEventMessage(data=msgspec.json.encode(OpenAIError(fault_of(problem_of(error, path)))))
