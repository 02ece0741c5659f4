"""A way back in for who forgot the password: a secret that works once, sent to the address of the account."""

from datetime import timedelta
from uuid import UUID

from octavia_stream.accounts.secret_token import new_token, token_hash
from octavia_stream.accounts.store import AccountStore, normal_email
from octavia_stream.database.pool import Database
from octavia_stream.errors import InvalidRequest

PREFIX = "op_"
LIFETIME = timedelta(minutes=30)

_ISSUE = """
insert into password_reset (hash, account_id, expires_at) select $1, id, now() + $3 from account where email = $2
on conflict (account_id) do update set hash = excluded.hash, expires_at = excluded.expires_at
returning account_id
"""
_OPEN = "select account_id from password_reset where hash = $1 and expires_at > now()"
_SPEND = "delete from password_reset where hash = $1 and expires_at > now() returning account_id"
_SET = "update account set password_hash = $2 where id = $1"
_END_LOG_INS = "delete from log_in where account_id = $1"


class PasswordResets:
    """Resets in Postgres. Methods raise DependencyUnavailable while it is away."""

    def __init__(self, database: Database, accounts: AccountStore) -> None:
        self._database = database
        self._accounts = accounts

    async def issue(self, email: str) -> str | None:
        """A secret for the account of this address, in place of an earlier one; None when there is no account."""
        token = new_token(PREFIX)
        account_id = await self._database.fetchval(_ISSUE, token_hash(token), normal_email(email), LIFETIME)
        return None if account_id is None else token

    async def confirm(self, token: str, password: str) -> None:
        """Give the account a new password and end all its log-ins.

        Raises InvalidRequest when the secret is used up or too old, or the password is not one.
        """
        hashed = token_hash(token)
        if await self._database.fetchval(_OPEN, hashed) is None:
            raise _used_up()
        # Hashing takes long: not within a transaction, and not for whoever guesses.
        password_hash = await self._accounts.hash_password(password)
        async with self._database.transaction() as connection:
            account_id: UUID | None = await connection.fetchval(_SPEND, hashed)
            if account_id is None:
                raise _used_up()
            await connection.execute(_SET, account_id, password_hash)
            await connection.execute(_END_LOG_INS, account_id)


def _used_up() -> InvalidRequest:
    return InvalidRequest("This link is used up or older than half an hour; ask for a new one.")
