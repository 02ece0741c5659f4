"""What becomes of a call whose connection dies under it."""

import asyncpg
import pytest

from octavia_stream.database.pool import Database
from octavia_stream.errors import DependencyUnavailable

pytestmark = pytest.mark.services


async def test_a_connection_that_dies_in_a_transaction_is_the_servers_doing(database_url: str) -> None:
    """A client shall hear that trying again helps, and not that the server made a mistake."""
    async with Database(database_url) as database:
        with pytest.raises(DependencyUnavailable):
            await _lose_the_connection(database)
        assert await database.fetchval("select 1") == 1


async def test_a_wrong_call_stays_a_mistake_of_ours(database_url: str) -> None:
    async with Database(database_url) as database:
        with pytest.raises(asyncpg.InterfaceError):
            async with database.transaction() as connection:
                await connection.fetchval("select $1::int")


async def _lose_the_connection(database: Database) -> None:
    async with database.transaction() as connection:
        connection.terminate()
        await connection.execute("select 1")
