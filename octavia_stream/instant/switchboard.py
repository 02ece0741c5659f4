"""Switchboard: brings calls to whichever worker has a hand free, and its words back, through Redis.

A call waits in one list for all workers; its replies come in a stream of its own. Nothing here is worth keeping:
whoever waits is told when a worker falls silent, and a worker stops when nobody waits any more, be it that the client
left or that the process that asked was killed: what says that somebody waits ends by itself.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Self, cast
from uuid import UUID

import msgspec
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from octavia_stream.config import OpenAISettings
from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.errors import DependencyUnavailable, EngineUnavailable, Overloaded, RateLimited
from octavia_stream.instant.call import Alive, Call, Finished, Refused, Reply

BEAT_S = 2.0
"""How often a worker says that it is alive, and asks whether it is still wanted."""
SILENCE_S = 12.0
"""A worker that says nothing for so long is lost."""
WANTED_S = 12
"""How long a call is wanted after its caller last said so."""
LISTEN_S = 1.0
REPLIES_AHEAD = 32
"""Replies that may wait for a slow client; beyond it the worker waits."""
TIMEOUT_S = 2.0
RETRY_AFTER_S = 5
_WAITING = "octavia:calls"
_TTL_S = 120


class Switchboard:
    """One process's end of it: callers use `call`, workers the rest. Raises DependencyUnavailable without Redis."""

    def __init__(self, url: str, settings: OpenAISettings) -> None:
        """url: `redis://…`, `rediss://…` or `unix:///path`. Connections open when first used."""
        self._settings = settings
        self._client = redis.Redis.from_url(
            url,
            socket_connect_timeout=1.0,
            # Reads block on purpose: every call below has a deadline of its own.
            socket_timeout=None,
            max_connections=512,
            retry=Retry(NoBackoff(), 0),
            client_name="octavia-calls",
        )
        self._call_decoder = msgspec.msgpack.Decoder(Call)
        self._reply_decoder = msgspec.msgpack.Decoder(Reply)
        self._encoder = msgspec.msgpack.Encoder()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    # The caller's side

    async def call(self, owner_id: UUID, call: Call) -> AsyncGenerator[Reply]:
        """Everything the worker says, up to its end; stopping early stops the worker.

        Raises RateLimited (this owner has too many calls under way), Overloaded (no worker had a hand free in time),
        EngineUnavailable (the worker was lost), and what the worker raised.
        """
        entry = self._encoder.encode(msgspec.structs.replace(call, owner_id=owner_id))
        try:
            await self._place(owner_id, call, entry)
            async for reply in self._listen(call, entry):
                if isinstance(reply, Refused):
                    raise reply.error()
                yield reply
                if isinstance(reply, Finished):
                    return
        finally:
            await asyncio.shield(self._hang_up(owner_id, call, entry))

    async def _place(self, owner_id: UUID, call: Call, entry: bytes) -> None:
        now = time.time()
        mine = f"{_WAITING}:of:{owner_id}"
        pipe = self._client.pipeline(transaction=True)
        # Calls whose process was killed fall out of the count by their age.
        pipe.zremrangebyscore(mine, 0, now - self._settings.deadline_s)
        pipe.zadd(mine, {str(call.id): now})
        pipe.zcard(mine)
        pipe.expire(mine, int(self._settings.deadline_s))
        pipe.set(_wanted(call.id), b"1", ex=WANTED_S)
        under_way = (await self._asked(pipe.execute()))[2]
        if under_way > self._settings.calls_per_account:
            raise RateLimited(
                f"You have {under_way - 1} requests under way already; wait until one has ended.", RETRY_AFTER_S
            )
        if await self._asked(self._client.rpush(_WAITING, entry)) > self._settings.waiting_calls:
            raise Overloaded("Too many requests wait already; try again in some seconds.")
        crash_point(CrashPoint.CALL_QUEUED)

    async def _listen(self, call: Call, entry: bytes) -> AsyncGenerator[Reply]:
        started = heard = time.monotonic()
        taken, seen = False, "0"
        while True:
            replies = await self._asked(self._next(call.id, seen), LISTEN_S + TIMEOUT_S)
            now = time.monotonic()
            if replies:
                taken, heard, seen = True, now, replies[-1][0]
            for _, reply in replies:
                if not isinstance(reply, Alive):
                    yield reply
            # Only what has been handed on makes room for more.
            await self._asked(self._consumed(call.id, [name for name, _ in replies]))
            now = time.monotonic()
            if not taken and now - started > self._settings.patience_s:
                await self._give_up(entry)
            if taken and now - max(heard, started) > SILENCE_S and not replies:
                raise EngineUnavailable("The server that worked on this was lost; try again.")
            if now - started > self._settings.deadline_s:
                raise EngineUnavailable(f"This took longer than {self._settings.deadline_s:.0f} s and was given up.")

    async def _give_up(self, entry: bytes) -> None:
        if await self._asked(self._client.lrem(_WAITING, 0, cast("str", entry))):
            raise Overloaded("All workers are busy; try again in some seconds.")
        # It has just been taken: a worker that says nothing now was lost.
        raise EngineUnavailable("No worker answered in time; try again.")

    async def _next(self, call_id: UUID, seen: str) -> list[tuple[str, Reply]]:
        answer: Any = await self._client.xread({_replies(call_id): seen}, count=16, block=int(LISTEN_S * 1000))
        entries = [entry for _, found in answer for entry in found]
        return [(name.decode(), self._reply_decoder.decode(fields[b"r"])) for name, fields in entries]

    async def _consumed(self, call_id: UUID, names: list[str]) -> None:
        pipe = self._client.pipeline(transaction=False)
        if names:
            pipe.xdel(_replies(call_id), *names)
        pipe.set(_wanted(call_id), b"1", ex=WANTED_S)
        await pipe.execute()

    async def _hang_up(self, owner_id: UUID, call: Call, entry: bytes) -> None:
        pipe = self._client.pipeline(transaction=False)
        pipe.delete(_wanted(call.id))
        pipe.lrem(_WAITING, 0, cast("str", entry))
        pipe.zrem(f"{_WAITING}:of:{owner_id}", str(call.id))
        # Late words of a worker make it anew; it ends by itself.
        pipe.delete(_replies(call.id))
        with suppress(DependencyUnavailable):
            await self._asked(pipe.execute())

    # The worker's side

    async def take(self, wait_s: float) -> Call | None:
        """The call that waits longest, if it is still wanted; waits up to `wait_s` for one."""
        found: Any = await self._asked(cast("Any", self._client.blpop([_WAITING], timeout=wait_s)), wait_s + TIMEOUT_S)
        if found is None:
            return None
        crash_point(CrashPoint.CALL_TAKEN)
        call = self._call_decoder.decode(found[1])
        return call if await self.wanted(call.id) else None

    async def wanted(self, call_id: UUID) -> bool:
        """Whether somebody still waits for it."""
        return bool(await self._asked(self._client.exists(_wanted(call_id))))

    async def reply(self, call_id: UUID, reply: Reply) -> None:
        """Say something to whoever waits."""
        pipe = self._client.pipeline(transaction=False)
        pipe.xadd(_replies(call_id), {"r": self._encoder.encode(reply)})
        pipe.expire(_replies(call_id), _TTL_S)
        await self._asked(pipe.execute())

    async def room(self, call_id: UUID) -> bool:
        """Whether the client keeps up."""
        return bool(await self._asked(self._client.xlen(_replies(call_id))) < REPLIES_AHEAD)

    async def _asked(self, question: Any, timeout_s: float = TIMEOUT_S) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                return await question
        except (RedisError, OSError) as error:
            raise DependencyUnavailable("Redis cannot be reached just now; try again in a few seconds.") from error


def _wanted(call_id: UUID) -> str:
    return f"octavia:call:{call_id}:wanted"


def _replies(call_id: UUID) -> str:
    return f"octavia:call:{call_id}:replies"
