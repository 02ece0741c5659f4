"""The header `Idempotency-Key`: a request that is sent again is answered as it was the first time."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from litestar.params import HeaderParameter

from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.database.pool import Database
from octavia_stream.errors import OctaviaError
from octavia_stream.jobs.idempotency import Answered, IdempotencyKeys

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Yours, and another for each request; the same one again within 24 hours does nothing new.",
    ),
]

T = TypeVar("T")


async def once(
    database: Database,
    owner_id: UUID,
    key: str | None,
    asked: object,
    answer: type[T],
    work: Callable[[UUID | None], Awaitable[T]],
) -> T:
    """What `work` makes, or what it made when the same was asked under this key before.

    asked: all that the request says, as JSON can hold it. work: is told the id that what it makes must have; None
    without a key. Raises KeyReused, Conflict while the first request is under way, and what `work` raises.
    """
    if key is None:
        return await work(None)
    keys = IdempotencyKeys(database)
    fingerprint = hashlib.sha256(msgspec.json.encode(asked)).hexdigest()
    taken = await keys.take(owner_id, key, fingerprint)
    if isinstance(taken, Answered):
        return msgspec.json.decode(taken.response, type=answer)
    crash_point(CrashPoint.KEY_TAKEN)
    try:
        made = await work(taken.resource_id)
    except OctaviaError as error:
        await (keys.abandon if error.retryable else keys.give_back)(owner_id, key)
        raise
    except BaseException:
        # Also when the client left and this task is cancelled.
        await asyncio.shield(keys.abandon(owner_id, key))
        raise
    crash_point(CrashPoint.KEY_UNANSWERED)
    await keys.answer(owner_id, key, msgspec.json.encode(made))
    return made
