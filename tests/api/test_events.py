"""Events of a job, live and later, each exactly once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import api.events
from tests.api.conftest import NewJob, Person, ScriptedWorker, read_sse

pytestmark = pytest.mark.services


@asynccontextmanager
async def socket(
    somebody: Person | None, address: str, job_id: str, query: str = "", **headers: str
) -> AsyncIterator[ClientConnection]:
    if somebody is not None:
        headers["Authorization"] = f"Bearer {somebody.token}"
    url = f"{address.replace('http', 'ws', 1)}/api/v1/jobs/{job_id}/events{query}"
    async with connect(url, additional_headers=headers) as connection:
        yield connection


async def rest_of(connection: ClientConnection) -> list[dict[str, Any]]:
    return [json.loads(message) async for message in connection]


async def close_code(connection: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed):
        await connection.recv()
    return connection.close_code


async def test_a_socket_tells_everything_once_and_closes_well(
    alice: Person, address: str, new_job: NewJob, worker: ScriptedWorker
) -> None:
    job = await new_job(submit=True)
    async with socket(alice, address, job["id"]) as connection:
        first = json.loads(await connection.recv())
        assert (first["seq"], first["event"]) == (1, {"type": "submitted", "version": 1})
        await worker.play(job["id"])
        rest = await rest_of(connection)
        assert connection.close_code == 1000
    assert [record["seq"] for record in rest] == list(range(2, len(rest) + 2))
    kinds = [record["event"]["type"] for record in rest]
    assert kinds[:3] == ["started", "analysed", "warning"]
    assert kinds[-1] == "completed"


async def test_a_socket_goes_on_after_any_number(
    alice: Person, address: str, new_job: NewJob, worker: ScriptedWorker
) -> None:
    job = await new_job(submit=True)
    await worker.play(job["id"])
    async with socket(alice, address, job["id"]) as connection:
        whole = await rest_of(connection)
    for after in range(len(whole) + 1):
        async with socket(alice, address, job["id"], f"?after={after}") as connection:
            assert await rest_of(connection) == whole[after:]
            assert connection.close_code == 1000


async def test_an_event_stream_tells_the_same_as_a_socket(
    alice: Person, address: str, new_job: NewJob, worker: ScriptedWorker
) -> None:
    job = await new_job(submit=True)
    await worker.play(job["id"])
    async with socket(alice, address, job["id"]) as connection:
        expected = await rest_of(connection)
    async with alice.http.stream("GET", job["links"]["events"]) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        messages = [message async for message in read_sse(response)]
    assert "retry" in messages[0]
    told = messages[1:]
    assert [json.loads(message["data"]) for message in told] == expected
    assert [int(message["id"]) for message in told] == [record["seq"] for record in expected]
    assert [message["event"] for message in told] == [record["event"]["type"] for record in expected]


async def test_an_event_stream_goes_on_after_the_last_id(
    alice: Person, new_job: NewJob, worker: ScriptedWorker
) -> None:
    job = await new_job(submit=True)
    await worker.play(job["id"])
    for headers, query in (({"Last-Event-ID": "3"}, ""), ({}, "?after=3"), ({"Last-Event-ID": "3"}, "?after=1")):
        async with alice.http.stream("GET", job["links"]["events"] + query, headers=headers) as response:
            ids = [int(message["id"]) async for message in read_sse(response) if "id" in message]
        assert ids == list(range(4, ids[-1] + 1))


async def test_an_event_stream_is_live(alice: Person, new_job: NewJob, worker: ScriptedWorker) -> None:
    job = await new_job(submit=True)
    async with alice.http.stream("GET", job["links"]["events"]) as response:
        messages = read_sse(response)
        while (await anext(messages)).get("id") != "1":
            pass
        await worker.take(job["id"])
        assert (await anext(messages))["event"] == "started"
        await worker.progress(25.0)
        assert json.loads((await anext(messages))["data"])["event"]["percent"] == 25.0
        await worker.complete()
        assert [message["event"] async for message in messages][-1] == "completed"


async def test_silence_is_broken_by_comments(alice: Person, new_job: NewJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.events, "HEARTBEAT_S", 0.05)
    job = await new_job()
    async with alice.http.stream("GET", job["links"]["events"]) as response:
        messages = read_sse(response)
        assert [(await anext(messages))[":"] for _ in range(4)] == ["following", "heartbeat", "heartbeat", "heartbeat"]


async def test_a_socket_outlives_silence(
    alice: Person, address: str, new_job: NewJob, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.events, "HEARTBEAT_S", 0.05)
    job = await new_job(submit=True)
    async with socket(alice, address, job["id"], "?after=1") as connection:
        await asyncio.sleep(0.3)
        await connection.send("anything a client may say is ignored")
        await worker.play(job["id"])
        assert [record["seq"] for record in await rest_of(connection)][:2] == [2, 3]


async def test_twenty_watchers_see_the_same(
    alice: Person, address: str, new_job: NewJob, worker: ScriptedWorker
) -> None:
    job = await new_job(submit=True)

    async def watch() -> list[dict[str, Any]]:
        async with socket(alice, address, job["id"]) as connection:
            return await rest_of(connection)

    async with asyncio.TaskGroup() as group:
        watchers = [group.create_task(watch()) for _ in range(20)]
        await worker.play(job["id"])
    assert all(watcher.result() == watchers[0].result() for watcher in watchers)


async def ticket_of(somebody: Person) -> str:
    answer = await somebody.http.post("/api/v1/auth/ticket")
    assert (answer.status_code, answer.json()["expires_in"]) == (201, 30)
    ticket: str = answer.json()["ticket"]
    return ticket


async def test_a_ticket_opens_one_socket(alice: Person, address: str, new_job: NewJob, worker: ScriptedWorker) -> None:
    job = await new_job(submit=True)
    await worker.play(job["id"])
    ticket = await ticket_of(alice)
    async with socket(None, address, job["id"], f"?ticket={ticket}") as connection:
        assert await rest_of(connection)
    async with socket(None, address, job["id"], f"?ticket={ticket}") as connection:
        assert await close_code(connection) == 4401


async def test_a_ticket_opens_one_event_stream(
    alice: Person, anyone: httpx.AsyncClient, new_job: NewJob, worker: ScriptedWorker
) -> None:
    job = await new_job(submit=True)
    await worker.play(job["id"])
    url = f"{job['links']['events']}?ticket={await ticket_of(alice)}"
    assert (await anyone.get(url)).status_code == 200
    assert (await anyone.get(url)).status_code == 401


async def test_a_ticket_opens_nothing_else(alice: Person, anyone: httpx.AsyncClient, new_job: NewJob) -> None:
    job = await new_job()
    answer = await anyone.get(f"/api/v1/jobs/{job['id']}?ticket={await ticket_of(alice)}")
    assert answer.status_code == 401


async def test_a_token_in_the_query_opens_nothing(alice: Person, address: str, new_job: NewJob) -> None:
    job = await new_job()
    for query in (f"?ticket={alice.token}", f"?token={alice.token}", f"?access_token={alice.token}"):
        async with socket(None, address, job["id"], query) as connection:
            assert await close_code(connection) == 4401


async def test_a_job_of_somebody_else_does_not_exist(alice: Person, bob: Person, address: str, new_job: NewJob) -> None:
    job = await new_job()
    for job_id in (job["id"], str(uuid4())):
        async with socket(bob, address, job_id) as connection:
            assert await close_code(connection) == 4404
        assert (await bob.http.get(f"/api/v1/jobs/{job_id}/events")).status_code == 404


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 30, "٣"])
async def test_a_number_that_is_none_is_refused(alice: Person, address: str, new_job: NewJob, after: str) -> None:
    job = await new_job()
    async with socket(alice, address, job["id"], f"?after={after}") as connection:
        assert await close_code(connection) == 4400
    answer = await alice.http.get(job["links"]["events"], headers={b"Last-Event-ID": after.encode()})
    assert answer.status_code == 400


async def test_a_page_of_another_site_cannot_connect(alice: Person, address: str, new_job: NewJob) -> None:
    job = await new_job()
    for origin in ("https://evil.example", "null", f"{address}.evil.example"):
        with pytest.raises(InvalidStatus) as refused:
            async with socket(alice, address, job["id"], Origin=origin):
                pass
        assert refused.value.response.status_code == 403
    async with socket(alice, address, job["id"], Origin=address):
        pass


async def test_a_client_that_says_too_much_is_cut(alice: Person, address: str, new_job: NewJob) -> None:
    job = await new_job(submit=True)
    async with socket(alice, address, job["id"], "?after=1") as connection:
        await connection.send("x" * (1 << 20))
        assert await close_code(connection) == 1009
