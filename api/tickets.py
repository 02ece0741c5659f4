"""One-time tickets: how a browser opens a WebSocket or an EventSource, which cannot send a header.

A ticket may stand in a URL, where a token may not: it works once, and only for half a minute.
"""

import hashlib
import secrets
from typing import Protocol

import msgspec

from api.identity import Identity
from octavia_stream.errors import Unauthorized

TICKET_S = 30


class ShortMemory(Protocol):
    """Remembers a value for a while and gives it out once, to one process of many."""

    async def keep(self, key: str, value: str, seconds: int) -> None: ...

    async def take(self, key: str) -> str | None: ...


class Tickets:
    """Tickets that are out; only the hash of each is remembered."""

    def __init__(self, memory: ShortMemory) -> None:
        self._memory = memory

    async def issue(self, identity: Identity) -> str:
        """A new ticket of who asks. Raises DependencyUnavailable."""
        ticket = secrets.token_urlsafe(32)
        await self._memory.keep(_key(ticket), msgspec.json.encode(identity).decode(), TICKET_S)
        return ticket

    async def redeem(self, ticket: str) -> Identity:
        """Whose ticket it was; it is void from now on. Raises Unauthorized, DependencyUnavailable."""
        holder = await self._memory.take(_key(ticket))
        if holder is None:
            raise Unauthorized("The ticket is used up or has expired; ask for a new one.")
        return msgspec.json.decode(holder, type=Identity)


def _key(ticket: str) -> str:
    return "ticket:" + hashlib.sha256(ticket.encode()).hexdigest()
