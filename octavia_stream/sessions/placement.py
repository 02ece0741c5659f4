"""Where live sessions are: on the node with the least to do when they begin, and on another when that one is lost."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal, Self, TypeVar
from uuid import UUID

import structlog
from websockets.asyncio.client import ClientConnection

from octavia_stream.errors import Conflict, EngineUnavailable, NotFound, OctaviaError, Overloaded
from octavia_stream.sessions.node_client import NodeClient, NodeGone, PeerAnswer
from octavia_stream.sessions.registry import NodeCard, NodeRegistry
from octavia_stream.sessions.session import EndReason, LiveSession
from octavia_stream.sessions.store import LiveSessionStore
from octavia_stream.telemetry.metrics import LIVE_SESSIONS_REFUSED

Said = TypeVar("Said")
Ask = Callable[[str], Awaitable[Said]]
"""Asks the node at this address."""

_FULL = "No live node has room for another session just now; try again in some seconds."
log = structlog.stdlib.get_logger(__name__)


class LiveNodes:
    """Sessions, wherever they are. Methods raise DependencyUnavailable while Postgres or Redis is away, Overloaded when
    no node has room, EngineUnavailable when a node does not answer, NotFound for a session that has ended, and what a
    node refuses with.
    """

    def __init__(self, store: LiveSessionStore, registry: NodeRegistry, token: str) -> None:
        """token: as `node_token`."""
        self._store = store
        self._registry = registry
        self._client = NodeClient(token)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def require_room(self) -> None:
        """Refuse early what would be refused later."""
        if not any(not card.draining for card in await self._registry.nodes()):
            LIVE_SESSIONS_REFUSED.inc()
            raise Overloaded(_FULL)

    async def place(self, session: LiveSession, *, without: str | None = None) -> NodeCard:
        """Have a node take the session, the one with the least to do first. without: one that is known to be gone."""
        for card in await self._registry.nodes():
            if card.draining or card.node_id == without:
                continue
            try:
                await self._client.begin(card.url, session)
            except Conflict:
                # It has it already, or somebody who asked at the same time found another.
                return await self._holder(session.id) or card
            except (NodeGone, Overloaded, EngineUnavailable):
                continue
            return card
        LIVE_SESSIONS_REFUSED.inc()
        raise Overloaded(_FULL)

    async def ingest(self, session: LiveSession, speaker: str, offer: bytes) -> PeerAnswer:
        """Somebody wants to speak."""
        return await self._at(session, lambda url: self._client.ingest(url, session.id, speaker, offer))

    async def listen(self, session: LiveSession, language: str, offer: bytes) -> PeerAnswer:
        """Somebody wants to listen."""
        return await self._at(session, lambda url: self._client.listen(url, session.id, language, offer))

    async def trickle(self, session: LiveSession, peer_id: str, etag: str, fragment: bytes) -> None:
        """Candidates of a connection that is being made."""
        await self._of_peer(session, lambda url: self._client.trickle(url, session.id, peer_id, etag, fragment))

    async def leave(self, session: LiveSession, peer_id: str) -> None:
        """A connection says goodbye."""
        await self._of_peer(session, lambda url: self._client.leave(url, session.id, peer_id))

    @asynccontextmanager
    async def socket(
        self, session: LiveSession, kind: Literal["socket", "events"], params: dict[str, str]
    ) -> AsyncIterator[ClientConnection]:
        """A WebSocket to the session."""
        # Who knows the session has it when the socket is opened.
        card = await self._at(session, lambda url: self._card_of(url, session.id))
        try:
            async with self._client.socket(card, session.id, kind, params) as connection:
                yield connection
        except NodeGone as error:
            raise _lost() from error

    async def end(self, session: LiveSession, reason: EndReason) -> LiveSession:
        """End a session wherever it is, and settle it."""
        await self._store.ask_to_end(session.id, reason)
        try:
            card = await self._holder(session.id)
            if card is not None:
                await self._client.end(card.url, session.id, reason)
        except (NodeGone, OctaviaError) as error:
            # Its node finds out at its next sign of life.
            log.info("session_ended_without_node", session_id=str(session.id), reason=str(error))
        return await self._store.end_now(session.id, reason)

    async def _at(self, session: LiveSession, ask: Ask[Said]) -> Said:
        """Ask the node that has a session; when it is lost, another one takes the session and is asked."""
        card = await self._holder(session.id)
        gone: str | None = None
        if card is not None:
            try:
                return await ask(card.url)
            except NodeGone:
                gone = card.node_id
            except NotFound:
                # It has the session no more: it ended there, or the node begins anew.
                pass
        current = await self._store.give_up(session.id)
        card = await self.place(current, without=gone)
        try:
            return await ask(card.url)
        except NodeGone as error:
            raise _lost() from error

    async def _of_peer(self, session: LiveSession, ask: Ask[None]) -> None:
        """Ask about a connection, which goes with its node. Raises NotFound."""
        card = await self._holder(session.id)
        if card is None:
            raise NotFound("There is no such connection.")
        try:
            await ask(card.url)
        except NodeGone as error:
            raise NotFound("There is no such connection.") from error

    async def _card_of(self, url: str, session_id: UUID) -> str:
        await self._client.show(url, session_id)
        return url

    async def _holder(self, session_id: UUID) -> NodeCard | None:
        """The node that has a session; None when none has, or it is gone. Raises NotFound when it has ended."""
        session = await self._store.get(session_id)
        if session.status == "ended":
            raise NotFound("This live session has ended.")
        return None if session.node_id is None else await self._registry.node(session.node_id)


def _lost() -> EngineUnavailable:
    return EngineUnavailable("The live node of this session was lost; try again in some seconds.")
