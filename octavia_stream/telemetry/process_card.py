"""What a running process tells of itself, and how it gets to those who ask."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal, Protocol, Self
from uuid import uuid4

import msgspec
import structlog

from octavia_stream.errors import DependencyUnavailable
from octavia_stream.telemetry import metrics

Role = Literal["api", "worker", "asr", "mt", "tts"]

INTERVAL_S = 5.0
GOOD_FOR_S = 20
"""A process that was silent for so long is gone."""

log = structlog.get_logger()


class ProcessCard(msgspec.Struct, frozen=True):
    """One process, as it was a moment ago."""

    id: str
    role: Role
    host: str
    pid: int
    version: str
    started_at: datetime
    gauges: dict[str, float] = {}
    """As `metrics.process_gauges`."""
    detail: dict[str, Any] = {}
    """What only this role knows, such as what the cluster is made of."""


class Board(Protocol):
    """Where processes tell of themselves: Redis."""

    async def add_counts(self, changes: dict[str, float]) -> None: ...

    async def counts(self) -> dict[str, float]: ...

    async def show(self, card_id: str, card: bytes, seconds: int) -> None: ...

    async def shown(self) -> list[bytes]: ...

    async def withdraw(self, card_id: str) -> None: ...


class Presence:
    """Keeps one process's card up, and sends on what it counts. Costs a few milliseconds every five seconds."""

    def __init__(
        self,
        board: Board,
        role: Role,
        detail: Callable[[], Awaitable[dict[str, Any]]] | None = None,
        *,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """detail: asked each time; what it raises as an OctaviaError leaves the detail out."""
        self._board = board
        self._detail = detail
        self._interval_s = interval_s
        self._card = ProcessCard(
            uuid4().hex, role, socket.gethostname(), os.getpid(), version("octavia-stream"), datetime.now(UTC)
        )
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="presence")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Send what is left, and take the card away."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with suppress(DependencyUnavailable):
            await send_counts(self._board)
            await self._board.withdraw(self._card.id)

    async def tell(self) -> None:
        """Send counts and card now. Raises DependencyUnavailable; then counts wait for the next time."""
        await send_counts(self._board)
        detail = await self._detail() if self._detail is not None else {}
        card = msgspec.structs.replace(self._card, gauges=metrics.process_gauges(), detail=detail)
        await self._board.show(card.id, msgspec.json.encode(card), GOOD_FOR_S)

    async def _run(self) -> None:
        while True:
            with suppress(DependencyUnavailable):
                await self.tell()
            await asyncio.sleep(self._interval_s)


async def send_counts(board: Board) -> None:
    """What this process counted since it sent last. Raises DependencyUnavailable; nothing is lost then."""
    changes = metrics.take_changes()
    if not changes:
        return
    try:
        await board.add_counts(changes)
    except BaseException:
        metrics.give_back(changes)
        raise


async def present(board: Board) -> list[ProcessCard]:
    """Every process that is there, by role. Raises DependencyUnavailable."""
    cards = []
    for shown in await board.shown():
        # One that an older or newer version wrote may look otherwise.
        with suppress(msgspec.MsgspecError):
            cards.append(msgspec.json.decode(shown, type=ProcessCard))
    return sorted(cards, key=lambda card: (card.role, card.host, card.pid))
