"""Events of all of somebody's jobs, in one row, each exactly once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from api import all_events
from api.app import create_app
from octavia_stream.config import Settings
from octavia_stream.events.event import Warned
from octavia_stream.jobs.job import Claim, DubbingOptions
from octavia_stream.runtime import Runtime
from tests.api.conftest import Person, ScriptedWorker, create_job, person, read_sse, serving, upload_video

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]

PATH = "/api/v1/events"


@pytest.fixture
async def somebody(address: str) -> AsyncIterator[Person]:
    async with person(address) as found:
        yield found


@asynccontextmanager
async def socket(someone: Person | None, address: str, query: str = "") -> AsyncIterator[ClientConnection]:
    headers = {"Authorization": f"Bearer {someone.token}"} if someone else {}
    async with connect(f"{address.replace('http', 'ws', 1)}{PATH}{query}", additional_headers=headers) as connection:
        yield connection


async def take(connection: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [json.loads(await connection.recv()) for _ in range(count)]


async def submitted(someone: Person, count: int = 1) -> list[str]:
    upload = await upload_video(someone)
    jobs = [(await create_job(someone, upload["id"]))["id"] for _ in range(count)]
    for job_id in jobs:
        await someone.http.post(f"/api/v1/jobs/{job_id}/process")
    return jobs


async def test_all_jobs_are_told_in_one_row_that_goes_on_after_any_number(
    somebody: Person, bob: Person, address: str, worker: ScriptedWorker
) -> None:
    async with socket(somebody, address) as live:
        first, second = await submitted(somebody, 2)
        # Nobody else's.
        await submitted(bob)
        told = await take(live, 2)
        await worker.play(first)
        await worker.play(second)
        told += await take(live, 14)
    assert {record["job_id"] for record in told} == {first, second}
    numbers = [record["id"] for record in told]
    assert numbers == list(range(numbers[0], numbers[0] + 16))
    for job_id in (first, second):
        seqs = [record["seq"] for record in told if record["job_id"] == job_id]
        assert seqs == list(range(1, 9))
    assert told[-1]["event"]["type"] == "completed"

    async with socket(somebody, address, f"?after={numbers[6]}") as again:
        assert await take(again, 9) == told[7:]
    seen = {"Last-Event-ID": str(numbers[13])}
    async with somebody.http.stream("GET", PATH, headers=seen) as response:
        messages = []
        async for message in read_sse(response):
            if message.get("data"):
                messages.append(message)
            if len(messages) == 2:
                break
    assert [json.loads(message["data"]) for message in messages] == told[14:]
    assert [message["id"] for message in messages] == [str(number) for number in numbers[14:]]
    assert [message["event"] for message in messages] == [record["event"]["type"] for record in told[14:]]


async def test_what_many_writers_add_at_once_is_told_in_order_and_completely(
    runtime: Runtime, somebody: Person
) -> None:
    upload = await upload_video(somebody)
    jobs = [
        await runtime.jobs.create(
            somebody.id, "video-translate", UUID(upload["id"]), DubbingOptions(target_language="pt")
        )
        for _ in range(4)
    ]
    for job in jobs:
        await runtime.jobs.submit(job.id, somebody.id)
    claims: list[Claim] = []
    while len(claims) < 4:
        claim = await runtime.jobs.claim("many", 60.0)
        assert claim is not None
        if claim.job.owner_id == somebody.id:
            claims.append(claim)
    expected = await runtime.owner_feed.head(somebody.id) + 4 * 20

    async def follow() -> list[int]:
        numbers: list[int] = []
        async with aclosing(runtime.owner_feed.follow(somebody.id, 0)) as records:
            async for record in records:
                numbers.append(record.id)
                if record.id == expected:
                    return numbers
        return numbers

    following = asyncio.create_task(follow())
    await asyncio.gather(
        *(runtime.jobs.append(claim, [Warned("w", f"{claim.job.id} {i}")]) for claim in claims for i in range(20))
    )
    assert await following == list(range(1, expected + 1))
    for claim in claims:
        await runtime.jobs.finish(claim, "failed", error=("left", "It was a test.", False))


async def test_a_client_that_does_not_listen_is_cut_and_told_where_to_go_on(
    somebody: Person, address: str, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
    serve = all_events._serve

    async def watched(*arguments: Any) -> tuple[int, str]:
        closed.set_result(await serve(*arguments))
        return closed.result()

    monkeypatch.setattr(all_events, "SEND_S", 0.3)
    monkeypatch.setattr(all_events, "_serve", watched)
    (job_id,) = await submitted(somebody)
    await worker.take(job_id)
    big = "x" * 1_000_000
    for number in range(16):
        await worker.tell(Warned("w", f"{number} {big}"))
    url = f"{address.replace('http', 'ws', 1)}{PATH}?after=0"
    headers = {"Authorization": f"Bearer {somebody.token}"}
    # It takes one message, and then no more than the kernel holds between the two ends.
    async with connect(
        url, additional_headers=headers, max_queue=1, max_size=None, compression=None, close_timeout=0.1
    ) as deaf:
        await deaf.recv()
        code, reason = await closed
        deaf.transport.abort()
    assert code == 1013
    number = int(reason.removeprefix("Too slow; come back with after=").removesuffix("."))
    assert 1 <= number < 16
    monkeypatch.setattr(all_events, "_serve", serve)
    await worker.fail("left", "It was a test.")
    again = connect(f"{url.partition('?')[0]}?after={number}", additional_headers=headers, max_size=None)
    async with again as listening:
        assert json.loads(await listening.recv())["id"] == number + 1


async def test_the_stream_ends_with_the_session_that_opened_it(somebody: Person, address: str) -> None:
    async with socket(somebody, address) as connection:
        await somebody.http.post("/api/v1/auth/log-out")
        with pytest.raises(ConnectionClosed):
            await connection.recv()
        assert connection.close_code == 4401


async def test_who_asks_wrongly_is_told_why(alice: Person, address: str, anyone: httpx.AsyncClient) -> None:
    for someone, query, code in ((None, "", 4401), (alice, "?after=x", 4400)):
        async with socket(someone, address, query) as connection:
            with pytest.raises(ConnectionClosed):
                await connection.recv()
            assert connection.close_code == code
    assert (await anyone.get(PATH)).status_code == 401
    ticket = (await alice.http.post("/api/v1/auth/ticket")).json()["ticket"]
    async with socket(None, address, f"?ticket={ticket}") as connection:
        await submitted(alice)
        assert (await take(connection, 1))[0]["event"]["type"] == "submitted"


async def test_a_server_that_stops_says_so(settings: Settings) -> None:
    app = create_app(settings)
    async with serving(app, settings) as url, person(url) as someone, socket(someone, url) as connection:
        waiting = asyncio.create_task(connection.recv())
        app.state.services.closing.set()
        with pytest.raises(ConnectionClosed):
            await waiting
        assert connection.close_code == 1012
