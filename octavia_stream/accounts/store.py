"""Accounts in Postgres."""

import re
import unicodedata
from collections.abc import Awaitable, Callable
from typing import Self, TypeAlias
from uuid import UUID

import msgspec

from octavia_stream.accounts.account import Account
from octavia_stream.accounts.passwords import Passwords
from octavia_stream.database.pool import Connection, Database
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unauthorized

Welcome: TypeAlias = Callable[[Connection, UUID], Awaitable[None]]
"""What else happens to a new account, in the transaction that makes it."""

EMAIL_MAX = 254  # RFC 5321, by way of erratum 1690 to RFC 3696
# Not a judge of addresses, only a guard against typing slips: whether mail arrives is the proof.
_EMAIL = re.compile(r"[^@\s\x00-\x1f]+@[^@\s.\x00-\x1f]+(\.[^@\s.\x00-\x1f]+)*")

_SIGN_UP = """
insert into account (id, email, password_hash) values ($1, $2, $3)
on conflict (email) do nothing returning id, email, created_at
"""
_BY_EMAIL = """
select id, email, created_at, password_hash, disabled_at is not null as disabled from account where email = $1
"""
_BY_ID = "select id, email, created_at from account where id = $1"
_HASH = "select password_hash from account where id = $1"
_REHASH = "update account set password_hash = $2 where id = $1 and password_hash = $3"


def normal_email(email: str) -> str:
    """The form under which an address is unique. Raises InvalidRequest when it is not an address."""
    normal = unicodedata.normalize("NFC", email.strip().lower())
    if len(normal) > EMAIL_MAX or not _EMAIL.fullmatch(normal):
        raise InvalidRequest("That is not an e-mail address.")
    return normal


class AccountStore:
    """Who may log in. Methods raise DependencyUnavailable while Postgres is away."""

    def __init__(self, database: Database, welcome: Welcome | None = None) -> None:
        self._database = database
        self._welcome = welcome
        self._passwords = Passwords()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._passwords.close()

    async def sign_up(self, email: str, password: str) -> Account:
        """A new account. Raises InvalidRequest, or Conflict when the address has one already."""
        normal = normal_email(email)
        hashed = await self._passwords.hash(password)
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_SIGN_UP, uuid7(), normal, hashed)
            if row is None:
                raise Conflict("There is an account with this e-mail address already; log in instead.")
            if self._welcome is not None:
                await self._welcome(connection, row["id"])
        return msgspec.convert(dict(row), Account)

    async def authenticate(self, email: str, password: str) -> Account:
        """The account whose password this is. Raises Unauthorized, the same and as slowly for an unknown address.

        Raises Forbidden when it was disabled; nobody learns that without the password.
        """
        try:
            normal = normal_email(email)
        except InvalidRequest:
            normal = ""
        row = await self._database.fetchrow(_BY_EMAIL, normal)
        hashed = None if row is None else row["password_hash"]
        if not await self._passwords.matches(password, hashed) or row is None:
            raise Unauthorized("The e-mail address or the password is wrong.")
        if row["disabled"]:
            raise Forbidden("This account was disabled; ask whoever runs this server.")
        if self._passwords.is_outdated(row["password_hash"]):
            await self._database.execute(_REHASH, row["id"], await self._passwords.hash(password), hashed)
        return Account(row["id"], row["email"], row["created_at"])

    async def get(self, account_id: UUID) -> Account:
        """Raises NotFound."""
        row = await self._database.fetchrow(_BY_ID, account_id)
        if row is None:
            raise NotFound("There is no such account.")
        return msgspec.convert(dict(row), Account)

    async def require_password(self, account_id: UUID, password: str) -> str:
        """Returns the hash it fits. Raises Forbidden when it is not this account's."""
        hashed: str | None = await self._database.fetchval(_HASH, account_id)
        if not await self._passwords.matches(password, hashed) or hashed is None:
            raise Forbidden("The password is wrong.")
        return hashed

    async def change_password(self, account_id: UUID, old: str, new: str) -> None:
        """Raises Forbidden when `old` is wrong, InvalidRequest, and Conflict when it was changed meanwhile."""
        hashed = await self.require_password(account_id, old)
        if await self._database.execute(_REHASH, account_id, await self.hash_password(new), hashed) != "UPDATE 1":
            raise Conflict("The password was changed just now.")

    async def hash_password(self, password: str) -> str:
        """What to keep of a new password. Raises InvalidRequest, Overloaded."""
        return await self._passwords.hash(password)
