"""What an account wants by default, in Postgres."""

from uuid import UUID

import msgspec

from octavia_stream.database.pool import Database

_FIELDS = "source_language, target_language, voice, retention_days, notify_completed, notify_failed"
_GET = f"select {_FIELDS} from account_settings where account_id = $1"  # noqa: S608  (constants of this file)
# The account's row is locked, so that of two who change settings neither loses what the other changed.
_LOCK = "select from account where id = $1 for update"
_PUT = f"""
insert into account_settings (account_id, {_FIELDS}) values ($1, $2, $3, $4, $5, $6, $7)
on conflict (account_id) do update set source_language = excluded.source_language,
    target_language = excluded.target_language, voice = excluded.voice, retention_days = excluded.retention_days,
    notify_completed = excluded.notify_completed, notify_failed = excluded.notify_failed
"""  # noqa: S608


class AccountSettings(msgspec.Struct, frozen=True):
    """One row of table `account_settings`; None: nothing in particular."""

    source_language: str | None = None
    """What jobs are taken to be in where they do not say; None lets the model detect it."""
    target_language: str | None = None
    """What jobs are translated into where they do not say."""
    voice: str | None = None
    """Who speaks, where the voice speaks the target language."""
    retention_days: int | None = None
    """Results of jobs that ended longer ago are removed; None: when the server says."""
    notify_completed: bool = False
    """A letter for each job that is done."""
    notify_failed: bool = False
    """A letter for each job that failed."""


class AccountSettingsStore:
    """Settings in Postgres. Methods raise DependencyUnavailable while it is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, account_id: UUID) -> AccountSettings:
        """As set, or nothing in particular."""
        row = await self._database.fetchrow(_GET, account_id)
        return AccountSettings() if row is None else msgspec.convert(dict(row), AccountSettings)

    async def change(self, account_id: UUID, changes: dict[str, object]) -> AccountSettings:
        """Set some fields, by name; the others stay."""
        async with self._database.transaction() as connection:
            await connection.fetchrow(_LOCK, account_id)
            row = await connection.fetchrow(_GET, account_id)
            now = AccountSettings() if row is None else msgspec.convert(dict(row), AccountSettings)
            changed = msgspec.structs.replace(now, **changes)
            await connection.execute(_PUT, account_id, *msgspec.structs.astuple(changed))
        return changed
