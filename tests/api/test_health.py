"""Alive and ready are two things."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from api.app import create_app
from octavia_stream.config import Settings
from octavia_stream.events.redis import RedisEvents
from octavia_stream.runtime import Runtime, open_runtime
from octavia_stream.telemetry.process_card import Presence
from tests.api.conftest import PASSWORD, eventually, serving

pytestmark = pytest.mark.services


async def test_a_server_with_its_services_is_alive_and_ready(anyone: httpx.AsyncClient, runtime: Runtime) -> None:
    assert (await anyone.get("/livez")).json() == {"status": "ok"}
    async with Presence(runtime.redis, "worker") as worker:
        await worker.tell()

        async def ready() -> bool:
            found = await anyone.get("/readyz")
            return (found.status_code, found.json()) == (200, {"status": "ready"})

        # On a machine that is busy the state may not be found out in time.
        await eventually(ready, "it is ready")


async def test_without_a_worker_it_serves_and_says_what_does_not_happen(anyone: httpx.AsyncClient) -> None:
    async def missed() -> bool:
        found = await anyone.get("/readyz")
        assert found.status_code == 200
        return "worker" in [reason["where"] for reason in found.json().get("reasons", [])]

    # The worker of another test may be remembered for some seconds.
    await eventually(missed, "a worker is missed")


async def test_without_redis_it_serves_what_it_can_and_says_what_is_missing(settings: Settings) -> None:
    @asynccontextmanager
    async def without_redis(settings: Settings) -> AsyncIterator[Runtime]:
        # Port 9 of loopback: nobody listens.
        async with open_runtime(settings) as runtime, RedisEvents("redis://127.0.0.1:9/0") as nowhere:
            yield replace(runtime, redis=nowhere)

    app = create_app(settings, without_redis)
    async with serving(app, settings) as address, httpx.AsyncClient(base_url=address, timeout=30) as client:
        assert (await client.get("/livez")).status_code == 200
        away = await client.get("/readyz")
        assert (away.status_code, away.json()["status"]) == (200, "degraded")
        assert away.json()["reasons"] == [{"where": "redis", "message": "Redis cannot be reached."}]

        signed_up = await client.post("/api/v1/auth/sign-up", json={"email": "r@example.org", "password": PASSWORD})
        token = {"Authorization": f"Bearer {signed_up.json()['access_token']}"}
        assert (await client.get("/api/v1/jobs", headers=token)).status_code == 200
        ticket = await client.post("/api/v1/auth/ticket", headers=token)
        assert (ticket.status_code, ticket.json()["code"]) == (503, "dependency_unavailable")
        assert ticket.headers["Retry-After"]


async def test_without_postgres_requests_are_503_with_a_time_to_retry(settings: Settings) -> None:
    @asynccontextmanager
    async def without_postgres(settings: Settings) -> AsyncIterator[Runtime]:
        async with open_runtime(settings) as runtime:
            await runtime.pool.close()
            yield runtime

    app = create_app(settings, without_postgres)
    async with serving(app, settings) as address, httpx.AsyncClient(base_url=address, timeout=30) as client:
        away = await client.get("/readyz")
        assert (away.status_code, away.json()["code"]) == (503, "not_ready")
        assert away.json()["errors"] == [{"where": "postgres", "message": "The database cannot be reached."}]
        assert away.headers["Retry-After"]
        answer = await client.post("/api/v1/auth/log-in", json={"email": "a@example.org", "password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (503, "dependency_unavailable")
        assert answer.headers["Retry-After"]
