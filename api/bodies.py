"""The body of a request as a stream."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from litestar import Request
from litestar.exceptions import InternalServerException

from octavia_stream.errors import InvalidRequest

IDLE_S = 60.0
"""How long a client may send nothing within a body."""
_BROKEN_OFF = "The upload broke off; send it again."


async def body_of(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    """The body as it comes. Raises InvalidRequest when the client stops in the middle, or falls silent."""
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except (InternalServerException, TimeoutError) as error:
            raise InvalidRequest(_BROKEN_OFF) from error
        if chunk:
            yield chunk
