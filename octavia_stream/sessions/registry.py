"""Which live nodes there are, and how much they do: cards in Redis that expire when a node falls silent."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from datetime import datetime
from typing import Any, Self, cast

import msgspec
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from octavia_stream.errors import DependencyUnavailable

TELL_S = 2.0
"""How often a node tells of itself."""
GOOD_FOR_S = 6
"""A node that was silent for so long is gone."""
TIMEOUT_S = 2.0
_NODE = "octavia:live:node:"
_NODES = "octavia:live:nodes"


class NodeCard(msgspec.Struct, frozen=True):
    """One live node, as it was a moment ago."""

    node_id: str
    url: str
    """Its private address, such as `http://127.0.0.1:40123`."""
    sessions: int
    load: float
    """From 0, idle, to 1, full."""
    draining: bool
    started_at: datetime


class NodeRegistry:
    """One process's view of the nodes. Methods raise DependencyUnavailable while Redis is away."""

    def __init__(self, url: str) -> None:
        """url: `redis://…`, `rediss://…` or `unix:///path`. Connections open when first used."""
        self._client = redis.Redis.from_url(
            url,
            socket_connect_timeout=1.0,
            socket_timeout=TIMEOUT_S,
            max_connections=16,
            retry=Retry(NoBackoff(), 0),
            client_name="octavia-live",
        )
        self._seen: dict[str, NodeCard] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def show(self, card: NodeCard) -> None:
        """For a node: it is there, for `GOOD_FOR_S` from now."""
        pipe = self._client.pipeline(transaction=True)
        pipe.set(_NODE + card.node_id, msgspec.json.encode(card), ex=GOOD_FOR_S)
        pipe.sadd(_NODES, card.node_id)
        await _answered(pipe.execute())

    async def withdraw(self, node_id: str) -> None:
        """For a node: it is there no more."""
        pipe = self._client.pipeline(transaction=True)
        pipe.delete(_NODE + node_id)
        pipe.srem(_NODES, node_id)
        await _answered(pipe.execute())

    async def nodes(self) -> list[NodeCard]:
        """Every node that is there, the one with the least to do first; those that drain are last."""
        ids = [member.decode() for member in await _answered(cast("Any", self._client.smembers(_NODES)))]
        if not ids:
            return []
        texts = await _answered(self._client.mget([_NODE + node_id for node_id in ids]))
        if gone := [node_id for node_id, text in zip(ids, texts, strict=True) if text is None]:
            await _answered(cast("Any", self._client.srem(_NODES, *gone)))
        cards = [card for text in texts if (card := _card(text)) is not None]
        self._seen = {card.node_id: card for card in cards}
        return sorted(cards, key=lambda card: (card.draining, card.load, card.sessions, card.node_id))

    async def node(self, node_id: str) -> NodeCard | None:
        """One node, if it is there.

        While Redis is away: as it was when this process saw it last. A node outlives a Redis, and whoever asks it
        finds out whether it is there. Raises DependencyUnavailable when it was never seen.
        """
        try:
            card = _card(await _answered(self._client.get(_NODE + node_id)))
        except DependencyUnavailable:
            if node_id in self._seen:
                return self._seen[node_id]
            raise
        if card is None:
            self._seen.pop(node_id, None)
        else:
            self._seen[node_id] = card
        return card


def _card(text: bytes | None) -> NodeCard | None:
    """None also for one that an older or newer version wrote in another way."""
    with suppress(msgspec.MsgspecError):
        return None if text is None else msgspec.json.decode(text, type=NodeCard)
    return None


async def _answered(call: Awaitable[Any]) -> Any:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await call
    except (RedisError, OSError) as error:
        raise DependencyUnavailable("Redis cannot be reached just now; try again in a few seconds.") from error
