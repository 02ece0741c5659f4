"""Migrations: plain SQL in `migrations/`, applied once, in order, by one process at a time."""

import logging
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pogo_core.util import migrate as pogo
from pogo_core.util import sql as pogo_sql

from octavia_stream.database.pool import connect

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_TIMEOUT_S = 300.0
_LOCK = 0x0C7A_71A5  # any number, as long as it is ours alone in the database
_SCHEMA = "public"


class _Quietly(logging.LoggerAdapter[logging.Logger]):
    """Pogo warns of every migration it applies; that is what it was asked to do."""

    def warning(self, msg: object, *args: object, **kwargs: Any) -> None:
        self.info(msg, *args, **kwargs)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs


_LOG = _Quietly(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """One migration, and whether this database has it."""

    id: str
    applied: bool


async def migrate(dsn: str) -> None:
    """Bring the database to the newest schema. Safe to call from many processes at once, and again.

    Raises DependencyUnavailable when the database cannot be reached.
    """
    async with connect(dsn, command_timeout_s=MIGRATION_TIMEOUT_S) as connection:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        await pogo.apply(connection, MIGRATIONS, schema_name=_SCHEMA, logger=_LOG)


async def rollback(dsn: str, count: int | None = None) -> None:
    """Undo the newest `count` migrations, or all of them. Data in dropped tables is gone."""
    async with connect(dsn, command_timeout_s=MIGRATION_TIMEOUT_S) as connection:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        await pogo.rollback(connection, MIGRATIONS, schema_name=_SCHEMA, count=count, logger=_LOG)


async def status(dsn: str) -> list[MigrationStatus]:
    """Every migration of this version of the program, in order."""
    async with connect(dsn) as connection:
        await pogo_sql.ensure_pogo_sync(connection)
        found = await pogo_sql.read_migrations(MIGRATIONS, connection, schema_name=_SCHEMA)
    return [MigrationStatus(one.id, one.applied) for one in sorted(found, key=lambda one: str(one.id))]
