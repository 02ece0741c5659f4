"""Passwords: argon2id, off the loop, a few at a time."""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from octavia_stream.errors import InvalidRequest, Overloaded

MIN_LENGTH = 10
MAX_LENGTH = 256
THREADS = 2
"""Each hash takes 64 MiB while it runs (RFC 9106, second recommended option)."""
MAX_WAITING = 64

P = ParamSpec("P")
T = TypeVar("T")


class Passwords:
    """Hashes and checks passwords."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._threads = ThreadPoolExecutor(THREADS, "argon2")
        self._waiting = 0
        # Checked when there is no such user, so that the answer takes as long.
        self._decoy = self._threads.submit(self._hasher.hash, secrets.token_urlsafe())

    def close(self) -> None:
        """May be called twice."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Raises InvalidRequest when it is too short or too long, Overloaded when too many wait."""
        if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
            raise InvalidRequest(f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters.")
        return await self._run(self._hasher.hash, password)

    async def matches(self, password: str, hashed: str | None) -> bool:
        """Whether the password is the one hashed; with None it takes as long and is False. Raises Overloaded."""
        against = hashed if hashed is not None else await asyncio.wrap_future(self._decoy)
        right = await self._run(self._verify, against, password[: MAX_LENGTH + 1])
        return right and hashed is not None

    def is_outdated(self, hashed: str) -> bool:
        """Whether it was hashed with other parameters than today's."""
        return self._hasher.check_needs_rehash(hashed)

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        if self._waiting >= MAX_WAITING:
            raise Overloaded("Too many people log in just now; try again in a few seconds.")
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._threads.submit(work, *arguments, **named))
        finally:
            self._waiting -= 1
