"""Reliance: calls of a model server that may be away for a while. What waits for it is the caller's to bound."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from octavia_stream.errors import EngineUnavailable, OctaviaError
from octavia_stream.live.events import Troubled
from octavia_stream.live.journal import Journal

log = structlog.get_logger()

T = TypeVar("T")

CALL_S = 20.0
"""No call of a live session takes so long: the server hangs."""
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 2.0


class Reliance:
    """One kind of call of one session."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._pause_s = FIRST_PAUSE_S
        self._told: str | None = None
        """What is wrong at the moment, as far as clients know."""

    async def call(self, make: Callable[[], Awaitable[T]]) -> T | None:
        """The answer; None when there was none and the caller may try again, which was given a pause already.

        Raises an OctaviaError that no retry helps. Clients are told once of each outage.
        """
        try:
            async with asyncio.timeout(CALL_S):
                answer = await make()
        except OctaviaError as error:
            self._tell(error)
            if not error.retryable:
                raise
        except TimeoutError:
            self._tell(EngineUnavailable("A model server does not answer; the session waits for it."))
        except Exception:
            # An engine may raise anything, and a session of hours must not end by it.
            # Once of each outage: a session asks again many times.
            if self._told is None:
                log.warning("live_engine_failed", exc_info=True)
            self._tell(EngineUnavailable("A model server failed; the session goes on when it is back."))
        else:
            self._pause_s, self._told = FIRST_PAUSE_S, None
            return answer
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        return None

    def _tell(self, error: OctaviaError) -> None:
        if self._told != error.code:
            self._told = error.code
            self._journal.write(Troubled(error.code, str(error)))
