"""The schema on real Postgres."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from octavia_stream.database.migrate import migrate, rollback, status
from octavia_stream.database.pool import connect, create_database, drop_database
from octavia_stream.services.embedded import ServiceUrls

pytestmark = pytest.mark.services

_TABLES = "select array_agg(tablename::text order by 1) from pg_tables where schemaname = 'public'"
_FUNCTIONS = "select count(*) from pg_proc where pronamespace = 'public'::regnamespace"


@pytest.fixture
async def empty_database(service_urls: ServiceUrls) -> AsyncIterator[str]:
    name = f"test_{uuid4().hex}"
    await create_database(service_urls.database_url, name)
    yield service_urls.database_url.replace("/octavia?", f"/{name}?")
    await drop_database(service_urls.database_url, name)


async def _tables(dsn: str) -> set[str]:
    async with connect(dsn) as connection:
        return {name for name in await connection.fetchval(_TABLES) or [] if not name.startswith("_pogo")}


async def test_migrations_apply_roll_back_and_apply_again(empty_database: str) -> None:
    jobs = {"account", "upload", "job", "chunk", "job_event"}
    ours = jobs | {"ledger_account", "credit_hold", "credit_transfer", "polar_event", "idempotency_key"}
    ours |= {"log_in", "refresh_token", "password_reset", "api_key", "object_removal"}
    ours |= {"tenant", "team", "team_member", "team_invitation", "account_settings", "letter"}
    ours |= {"sound_use", "open_upload"}
    ours |= {"resumable_upload", "resumable_part"}
    ours |= {"admin_act", "cleaning"}
    ours |= {"webhook_endpoint", "webhook_message", "webhook_delivery"}
    ours |= {"cached_result", "job_version", "job_quality"}
    ours |= {"live_session", "live_peer", "live_listener", "live_recording"}
    await migrate(empty_database)
    assert await _tables(empty_database) == ours
    assert all(one.applied for one in await status(empty_database))
    await rollback(empty_database)
    assert await _tables(empty_database) == set()
    async with connect(empty_database) as connection:
        assert await connection.fetchval(_FUNCTIONS) == 0
    assert not any(one.applied for one in await status(empty_database))
    await migrate(empty_database)
    assert await _tables(empty_database) == ours


async def test_many_processes_may_migrate_at_once(empty_database: str) -> None:
    await asyncio.gather(*(migrate(empty_database) for _ in range(8)))
    async with connect(empty_database) as connection:
        assert await connection.fetchval("select count(*) from _pogo_migration") == len(await status(empty_database))
