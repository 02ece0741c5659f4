"""Sessions: carried on by refresh tokens, listed, ended; what was stolen ends itself."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from octavia_stream.accounts import log_ins
from octavia_stream.runtime import Runtime
from tests.api.conftest import PASSWORD, NewJob, Person, person

pytestmark = pytest.mark.services


@pytest.fixture
async def carol(address: str) -> AsyncIterator[Person]:
    async with person(address) as somebody:
        yield somebody


async def log_in(somebody: Person, anyone: httpx.AsyncClient, client: str = "test") -> dict[str, Any]:
    answer = await anyone.post(
        "/api/v1/auth/log-in",
        json={"email": somebody.email, "password": PASSWORD},
        headers={"User-Agent": client},
    )
    assert answer.status_code == 200, answer.text
    access: dict[str, Any] = answer.json()
    return access


async def refresh(anyone: httpx.AsyncClient, token: str) -> httpx.Response:
    return await anyone.post("/api/v1/auth/refresh", json={"refresh_token": token})


async def status(anyone: httpx.AsyncClient, token: str) -> int:
    return (await anyone.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})).status_code


async def test_a_refresh_token_brings_the_next_and_an_access_token(anyone: httpx.AsyncClient, carol: Person) -> None:
    first = await log_in(carol, anyone)
    answer = await refresh(anyone, first["refresh_token"])
    assert answer.status_code == 200
    second = answer.json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["account"] == first["account"]
    assert await status(anyone, second["access_token"]) == 200
    assert (await refresh(anyone, second["refresh_token"])).status_code == 200


async def test_a_refresh_token_that_comes_twice_ends_its_session_and_no_other(
    anyone: httpx.AsyncClient, carol: Person
) -> None:
    stolen = await log_in(carol, anyone)
    thief = (await refresh(anyone, stolen["refresh_token"])).json()
    assert (await refresh(anyone, stolen["refresh_token"])).status_code == 401
    assert (await refresh(anyone, thief["refresh_token"])).status_code == 401
    assert await status(anyone, thief["access_token"]) == 401
    assert await status(anyone, stolen["access_token"]) == 401
    assert await status(anyone, carol.token) == 200


async def test_of_many_that_come_with_one_refresh_token_at_most_one_gets_in(
    anyone: httpx.AsyncClient, carol: Person
) -> None:
    access = await log_in(carol, anyone)
    answers = await asyncio.gather(*(refresh(anyone, access["refresh_token"]) for _ in range(8)))
    assert [answer.status_code for answer in answers].count(200) == 1
    winner = next(answer.json() for answer in answers if answer.status_code == 200)
    # The others told that it is in more hands than one.
    assert (await refresh(anyone, winner["refresh_token"])).status_code == 401


async def test_an_old_refresh_token_opens_nothing(anyone: httpx.AsyncClient, carol: Person, runtime: Runtime) -> None:
    access = await log_in(carol, anyone)
    await runtime.pool.execute("update refresh_token set expires_at = now() - interval '1 second'")
    assert (await refresh(anyone, access["refresh_token"])).status_code == 401


@pytest.mark.parametrize("token", ["x", "or_x", "or_\ud800", "é" * 200])
async def test_what_was_never_a_refresh_token_is_401(anyone: httpx.AsyncClient, token: str) -> None:
    content = '{"refresh_token": "' + token.encode("ascii", "backslashreplace").decode().replace("\\x", "\\u00") + '"}'
    answer = await anyone.post("/api/v1/auth/refresh", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 401}
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_only_hashes_of_refresh_tokens_are_kept(
    anyone: httpx.AsyncClient, carol: Person, runtime: Runtime
) -> None:
    secret = (await log_in(carol, anyone))["refresh_token"]
    kept = await runtime.pool.fetch("select hash from refresh_token")
    assert all(secret.encode() not in row["hash"] and len(row["hash"]) == 32 for row in kept)


async def test_who_logs_out_is_out(anyone: httpx.AsyncClient, carol: Person) -> None:
    access = await log_in(carol, anyone)
    header = {"Authorization": f"Bearer {access['access_token']}"}
    assert (await anyone.post("/api/v1/auth/log-out", headers=header)).status_code == 204
    assert await status(anyone, access["access_token"]) == 401
    assert (await refresh(anyone, access["refresh_token"])).status_code == 401
    assert await status(anyone, carol.token) == 200


async def test_sessions_say_where_they_are_and_end_from_elsewhere(anyone: httpx.AsyncClient, carol: Person) -> None:
    phone = await log_in(carol, anyone, "Phone/1.0\t<b>")
    sessions = (await carol.http.get("/api/v1/auth/sessions")).json()["sessions"]
    assert [(one["client"], one["address"], one["current"]) for one in sessions] == [
        ("Phone/1.0<b>", "127.0.0.1", False),
        (sessions[1]["client"], "127.0.0.1", True),
    ]
    assert await status(anyone, phone["access_token"]) == 200
    assert (await carol.http.delete(f"/api/v1/auth/sessions/{sessions[0]['id']}")).status_code == 204
    assert await status(anyone, phone["access_token"]) == 401
    assert (await carol.http.delete(f"/api/v1/auth/sessions/{sessions[0]['id']}")).status_code == 404


async def test_a_session_that_another_process_ended_is_over_here_too(
    anyone: httpx.AsyncClient, carol: Person, runtime: Runtime
) -> None:
    access = await log_in(carol, anyone)
    assert await status(anyone, access["access_token"]) == 200
    await runtime.log_ins.end_others(carol.id, None)
    assert await status(anyone, access["access_token"]) == 401


async def test_a_socket_of_an_ended_session_is_refused(
    address: str, anyone: httpx.AsyncClient, alice: Person, new_job: NewJob
) -> None:
    job = await new_job()
    access = await log_in(alice, anyone)
    header = {"Authorization": f"Bearer {access['access_token']}"}
    await anyone.post("/api/v1/auth/log-out", headers=header)
    url = address.replace("http", "ws", 1) + f"/api/v1/jobs/{job['id']}/events"
    async with connect(url, additional_headers=header) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


async def test_an_account_has_a_bounded_number_of_sessions(
    carol: Person, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_ins, "MAX_LOG_INS", 3)
    for _ in range(5):
        await runtime.log_ins.open(carol.id, "script", "192.0.2.1")
    assert len(await runtime.log_ins.list_log_ins(carol.id)) == 3
