"""One-time tickets: how a browser opens a WebSocket or an EventSource, which cannot send a header.

A ticket may stand in a URL, where a token may not: it works once, and only for half a minute.
"""

import hashlib
import secrets
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from octavia_stream.errors import DependencyUnavailable, Unauthorized

TICKET_S = 30


class Tickets:
    """Tickets that are out, by the hash of each, in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def issue(self, user_id: UUID) -> str:
        """A new ticket of this user. Raises DependencyUnavailable."""
        ticket = secrets.token_urlsafe(32)
        try:
            await self._redis.set(_key(ticket), str(user_id), ex=TICKET_S)
        except RedisError as error:
            raise DependencyUnavailable from error
        return ticket

    async def redeem(self, ticket: str) -> UUID:
        """Whose ticket it was; it is void from now on. Raises Unauthorized, DependencyUnavailable."""
        try:
            owner = await self._redis.getdel(_key(ticket))
        except RedisError as error:
            raise DependencyUnavailable from error
        if owner is None:
            raise Unauthorized("The ticket is used up or has expired; ask for a new one.")
        return UUID(owner.decode() if isinstance(owner, bytes) else owner)


def _key(ticket: str) -> str:
    return "ticket:" + hashlib.sha256(ticket.encode()).hexdigest()
