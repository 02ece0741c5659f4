"""A stream is asked for its reasons while it is open: it ends when its session, its key or its account does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from octavia_stream.accounts.standing import Grant, Standing
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.runtime import Runtime
from tests.api.conftest import PASSWORD, Person, create_job, person, read_sse, upload_video

pytestmark = pytest.mark.services

End = Callable[[Person, dict[str, Any]], Awaitable[httpx.Response]]


async def log_out(somebody: Person, _key: dict[str, Any]) -> httpx.Response:
    return await somebody.http.post("/api/v1/auth/log-out")


async def end_everywhere(somebody: Person, _key: dict[str, Any]) -> httpx.Response:
    """From another device."""
    there = await somebody.http.post("/api/v1/auth/log-in", json={"email": somebody.email, "password": PASSWORD})
    headers = {"Authorization": f"Bearer {there.json()['access_token']}"}
    body = {"password": PASSWORD, "new_password": PASSWORD + "!"}
    return await somebody.http.post("/api/v1/auth/password", json=body, headers=headers)


async def delete_account(somebody: Person, _key: dict[str, Any]) -> httpx.Response:
    return await somebody.http.request("DELETE", "/api/v1/auth/me", json={"password": PASSWORD})


async def delete_key(somebody: Person, key: dict[str, Any]) -> httpx.Response:
    return await somebody.http.delete(f"/api/v1/keys/{key['key']['id']}")


@asynccontextmanager
async def streams(somebody: Person, address: str, token: str) -> AsyncIterator[tuple[Any, Any]]:
    """A WebSocket and an event stream on a job that waits for ever, both told that they are on."""
    upload = await upload_video(somebody)
    job_id = (await create_job(somebody, upload["id"]))["id"]
    await somebody.http.post(f"/api/v1/jobs/{job_id}/process")
    headers = {"Authorization": f"Bearer {token}"}
    where = f"/api/v1/jobs/{job_id}/events"
    async with (
        connect(f"{address.replace('http', 'ws', 1)}{where}", additional_headers=headers) as socket,
        httpx.AsyncClient(base_url=address, timeout=60) as other,
        other.stream("GET", where, headers=headers) as response,
    ):
        await socket.recv()
        messages = read_sse(response)
        while "data" not in await anext(messages):
            pass  # comments
        yield socket, messages


@pytest.mark.parametrize("end", [log_out, end_everywhere, delete_key], ids=["log-out", "new password", "key"])
async def test_streams_end_with_what_opened_them(address: str, end: End) -> None:
    async with person(address) as somebody:
        key = (await somebody.http.post("/api/v1/keys", json={"name": "k", "scopes": ["jobs:read"]})).json()
        token = key["api_key"] if end is delete_key else somebody.token
        async with streams(somebody, address, token) as (socket, messages):
            assert (await end(somebody, key)).status_code == 204
            async with asyncio.timeout(60):
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                assert socket.close_code == 4401
                # The event stream just ends; who comes back is told 401.
                assert not [message async for message in messages if "data" in message]
            again = await somebody.http.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
            assert again.status_code == 401


async def test_streams_that_others_opened_go_on(address: str, runtime: Runtime) -> None:
    async with person(address) as somebody:
        other = await somebody.http.post("/api/v1/auth/log-in", json={"email": somebody.email, "password": PASSWORD})
        async with streams(somebody, address, other.json()["access_token"]) as (socket, _):
            await somebody.http.post("/api/v1/auth/log-out")
            standing = Standing(runtime.pool, recheck_s=0.01)
            # Rounds of the question pass, and the socket is open still.
            lost = standing.lost(Grant(somebody.id))
            gone = standing.lost(Grant(uuid7()))
            async with asyncio.timeout(60):
                await gone
            assert not lost.done()
            await standing.close()
            await socket.ping()
            assert socket.close_code is None


async def test_a_ticket_is_worth_no_more_than_the_session_it_came_from(address: str) -> None:
    async with person(address) as somebody:
        upload = await upload_video(somebody)
        job_id = (await create_job(somebody, upload["id"]))["id"]
        ticket = (await somebody.http.post("/api/v1/auth/ticket")).json()["ticket"]
        assert (await somebody.http.post("/api/v1/auth/log-out")).status_code == 204
        async with connect(f"{address.replace('http', 'ws', 1)}/api/v1/jobs/{job_id}/events?ticket={ticket}") as socket:
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 4401


async def test_who_left_a_team_or_lost_the_account_loses_its_streams(runtime: Runtime) -> None:
    owner, member = [await runtime.accounts.sign_up(f"{uuid7().hex}@example.org", PASSWORD) for _ in range(2)]
    standing, team_id, upload_id, job_id = Standing(runtime.pool, recheck_s=0.05), uuid7(), uuid7(), uuid7()
    async with runtime.pool.transaction() as connection:
        await connection.execute("insert into team (id, name) values ($1, 'us')", team_id)
        for account, role in ((owner, "owner"), (member, "member")):
            await connection.execute(
                "insert into team_member (team_id, account_id, role) values ($1, $2, $3)", team_id, account.id, role
            )
        await connection.execute(
            "insert into upload (id, owner_id, filename, content_type, size, sha256, key)"
            " values ($1, $2, 'a', 'video/mp4', 1, $3, $4)", upload_id, team_id, "0" * 64, upload_id.hex,
        )  # fmt: skip
        await connection.execute(
            "insert into job (id, owner_id, kind, upload_id, options) values ($1, $2, 'video-translate', $3, '{}')",
            job_id, team_id, upload_id,
        )  # fmt: skip
    of_owner, of_member = Grant(owner.id, job_id=job_id), Grant(member.id, job_id=job_id)
    assert await standing.holds(of_owner)
    assert await standing.holds(of_member)
    lost, kept = standing.lost(of_member), standing.lost(of_owner)
    await runtime.pool.execute("delete from team_member where account_id = $1", member.id)
    async with asyncio.timeout(60):
        await lost
    assert not kept.done()
    await runtime.pool.execute("update account set disabled_at = now() where id = $1", owner.id)
    async with asyncio.timeout(60):
        await kept
    await standing.close()
