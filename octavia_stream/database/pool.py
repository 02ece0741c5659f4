"""The asyncpg pool: deadlines on everything, JSON as Python values, one place where errors become ours.

Postgres may be killed and come back at any time. Whatever was under way raises
DependencyUnavailable, connections that died are replaced when they are next
asked for, and nobody has to do anything.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeAlias

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from octavia_stream.errors import DependencyUnavailable

CONNECT_TIMEOUT_S = 5.0
ACQUIRE_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 5.0
RELEASE_TIMEOUT_S = 1.0
"""How long a connection whose command was given up may take to come back before it is cut."""
CLOSE_TIMEOUT_S = 5.0

Row: TypeAlias = asyncpg.Record
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

_AWAY = (
    OSError,  # TimeoutError too
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, cancelled by a timeout
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,  # deadlock, serialization: the same call may succeed later
    asyncpg.LockNotAvailableError,
    # Seen when the server is killed in the middle of a message.
    asyncpg.InternalClientError,
)

_SERVER_SETTINGS = {
    "application_name": "octavia-stream",
    "statement_timeout": "5s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "15s",
    "timezone": "UTC",
}


async def _prepare(connection: "asyncpg.Connection[Row]") -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        # The binary form of jsonb is its text after one byte, the version.
        encoder=lambda value: b"\x01" + msgspec.json.encode(value),
        decoder=lambda data: msgspec.json.decode(data[1:]),
        format="binary",
    )


async def _leave_as_it_is(connection: "asyncpg.Connection[Row]") -> None:
    """asyncpg's own reset is a round trip after every statement; only `Database.connection` has something to undo."""


def _unavailable() -> DependencyUnavailable:
    return DependencyUnavailable("The database cannot be reached just now; try again in a few seconds.")


class Database:
    """A pool of connections to one database.

    Every method raises DependencyUnavailable when Postgres is away, and the pool heals when it is back.
    """

    def __init__(self, dsn: str, *, min_size: int = 1, max_size: int = 8) -> None:
        """dsn: as libpq writes it. Nothing is opened before `open`."""
        self._dsn = dsn
        self._sizes = (min_size, max_size)
        self._pool: asyncpg.Pool[Row] | None = None

    async def open(self) -> Self:
        """Connect. Raises DependencyUnavailable when the server cannot be reached."""
        low, high = self._sizes
        try:
            self._pool = await asyncpg.create_pool(
                self._dsn,
                min_size=low,
                max_size=high,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                max_inactive_connection_lifetime=60.0,
                server_settings=_SERVER_SETTINGS,
                init=_prepare,
                reset=_leave_as_it_is,
            )
        except (*_AWAY, asyncpg.InvalidCatalogNameError) as error:
            raise _unavailable() from error
        return self

    async def close(self) -> None:
        """Give connections back to the server; those still in use after a while are cut. May be called twice."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One connection for a while, outside a transaction. Locks and settings of its session end with it."""
        async with self._borrowed() as connection:
            try:
                yield connection
            finally:
                if not connection.is_closed():
                    await connection.reset(timeout=RELEASE_TIMEOUT_S)

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Connection]:
        """One connection, for what leaves nothing behind in its session."""
        pool = self._pool
        if pool is None:
            raise _unavailable()
        lost = True
        try:
            connection = await pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
            try:
                yield connection
            finally:
                # Asked now: one that was given back answers nothing any more.
                lost = connection.is_closed()
                await pool.release(connection, timeout=RELEASE_TIMEOUT_S)
        except _AWAY as error:
            raise _unavailable() from error
        except asyncpg.InterfaceError as error:
            # Also what a wrong call raises: only a dead connection is the server's doing.
            if lost:
                raise _unavailable() from error
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One connection and one transaction, committed on the way out unless an error passes."""
        async with self._borrowed() as connection, connection.transaction():
            yield connection

    async def fetch(self, query: str, *arguments: object) -> list[Row]:
        async with self._borrowed() as connection:
            return await connection.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: object) -> Row | None:
        async with self._borrowed() as connection:
            return await connection.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: object) -> Any:
        async with self._borrowed() as connection:
            return await connection.fetchval(query, *arguments)

    async def execute(self, query: str, *arguments: object) -> str:
        async with self._borrowed() as connection:
            return await connection.execute(query, *arguments)

    async def ping(self) -> None:
        """Raises DependencyUnavailable within three seconds when Postgres does not answer."""
        try:
            async with asyncio.timeout(2.0):
                await self.fetchval("select 1")
        except TimeoutError as error:
            raise _unavailable() from error


@asynccontextmanager
async def connect(
    dsn: str, *, command_timeout_s: float = COMMAND_TIMEOUT_S
) -> AsyncIterator["asyncpg.Connection[Row]"]:
    """A single connection, for what a pool must not do: migrations, making databases, asking whether it is up."""
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S, command_timeout=command_timeout_s)
    except (*_AWAY, asyncpg.InvalidCatalogNameError) as error:
        raise _unavailable() from error
    try:
        yield connection
    except _AWAY as error:
        raise _unavailable() from error
    finally:
        try:
            await connection.close(timeout=CLOSE_TIMEOUT_S)
        except (*_AWAY, asyncpg.InterfaceError):
            connection.terminate()


async def create_database(dsn: str, name: str, *, template: str | None = None) -> None:
    """Make a database on the server of `dsn` unless there is one of that name. `template`: copy this one."""
    async with connect(dsn, command_timeout_s=60.0) as connection:
        if await connection.fetchval("select 1 from pg_database where datname = $1", name):
            return
        source = f" template {_quoted([template])}" if template else ""
        await connection.execute(f"create database {_quoted([name])}{source}")


async def drop_database(dsn: str, name: str) -> None:
    """Remove a database and cut whoever is connected to it."""
    async with connect(dsn, command_timeout_s=60.0) as connection:
        await connection.execute(f"drop database if exists {_quoted([name])} with (force)")


def _quoted(parts: Sequence[str]) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)
