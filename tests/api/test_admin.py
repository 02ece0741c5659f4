"""Administrators see how everybody's jobs fare and may step in; everybody else finds nothing there."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from octavia_stream.admin.acts import COMMAND_LINE, Actor
from octavia_stream.admin.users import UserDirectory
from octavia_stream.cli.admin import grant, list_admins, revoke
from octavia_stream.config import Settings
from octavia_stream.database.pool import Database
from octavia_stream.errors import Conflict, NotFound
from octavia_stream.runtime import Runtime
from octavia_stream.telemetry.process_card import Presence
from tests.api.conftest import PASSWORD, NewJob, Person, ScriptedWorker, eventually, person

pytestmark = pytest.mark.services

SOMEBODY_HERE = Actor(None, COMMAND_LINE)
WHY = {"reason": "asked for in ticket 7"}


@pytest.fixture(scope="module")
async def admin(address: str, runtime: Runtime) -> AsyncIterator[Person]:
    async with person(address) as somebody:
        await UserDirectory(runtime.pool).grant_admin(SOMEBODY_HERE, somebody.email, "the first one")
        yield somebody


async def acts(admin: Person, subject: object) -> list[dict[str, Any]]:
    answer = await admin.http.get(f"/api/v1/admin/acts?subject={subject}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["acts"]
    return found


async def test_there_is_nothing_for_others(alice: Person, admin: Person, anyone: httpx.AsyncClient) -> None:
    paths = (await anyone.get("/schema/openapi.json")).json()["paths"]
    routes = [(method, path) for path, item in paths.items() for method in item if path.startswith("/api/v1/admin")]
    assert len(routes) >= 12
    key = await admin.http.post("/api/v1/keys", json={"name": "k", "scopes": ["jobs:read"]})
    with_key = {"Authorization": f"Bearer {key.json()['api_key']}"}
    for method, template in routes:
        path = re.sub(r"{\w+}", str(alice.id), template)
        for body in ({}, {"json": WHY}, {"content": b"no json"}):
            answer = await alice.http.request(method, path, **body)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, path)
            answer = await anyone.request(method, path, headers=with_key, **body)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, path)
        assert (await anyone.request(method, path)).status_code == 401


async def test_the_first_administrator_comes_from_the_command_line(
    address: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert settings.database_url is not None
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    async with person(address) as somebody:
        assert (await somebody.http.get("/api/v1/admin/queue")).status_code == 404
        assert await asyncio.to_thread(grant, somebody.email) == 0
        assert (await somebody.http.get("/api/v1/admin/queue")).status_code == 200
        capsys.readouterr()
        assert await asyncio.to_thread(list_admins) == 0
        assert somebody.email[:12] in capsys.readouterr().out
        with pytest.raises(Conflict):
            await asyncio.to_thread(grant, somebody.email)
        (granted,) = await acts(somebody, somebody.id)
        assert (granted["act"], granted["actor"], granted["actor_id"]) == ("grant_admin", COMMAND_LINE, None)
        assert await asyncio.to_thread(revoke, somebody.email) == 0
        assert (await somebody.http.get("/api/v1/admin/queue")).status_code == 404
    with pytest.raises(NotFound):
        await asyncio.to_thread(grant, "nobody@example.org")


async def test_a_job_is_found_cancelled_and_run_again_for_its_owner(
    admin: Person, alice: Person, new_job: NewJob, runtime: Runtime
) -> None:
    job = await new_job(submit=True)
    queue = (await admin.http.get("/api/v1/admin/queue")).json()
    assert queue["waiting"] == 1
    assert [first["id"] for first in queue["first"]] == [job["id"]]
    found = (await admin.http.get(f"/api/v1/admin/jobs?owner={alice.id}&status=pending&limit=1")).json()
    assert [one["id"] for one in found["jobs"]] == [job["id"]]
    assert found["jobs"][0].keys().isdisjoint({"options", "artifacts", "report", "warnings"})

    here = f"/api/v1/admin/jobs/{job['id']}"
    assert (await admin.http.post(f"{here}/cancel", json={"reason": " "})).status_code == 400
    assert (await admin.http.post(f"{here}/cancel")).status_code == 400
    cancelled = await admin.http.post(f"{here}/cancel", json=WHY)
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    assert (await admin.http.post(f"{here}/cancel", json=WHY)).status_code == 409
    again = await admin.http.post(f"{here}/retry", json=WHY)
    assert (again.status_code, again.json()["status"], again.json()["runs"]) == (202, "pending", 2)
    assert (await alice.http.get(f"/api/v1/jobs/{job['id']}")).json()["status"] == "pending"
    done = await acts(admin, job["id"])
    # The second attempt to cancel was asked for as well.
    assert [act["act"] for act in done] == ["retry_job", "cancel_job", "cancel_job"]
    assert {(act["actor"], act["reason"]) for act in done} == {(admin.email, WHY["reason"])}
    assert done[0]["request_id"] == again.headers["X-Request-ID"]
    await ScriptedWorker(runtime).play(job["id"])
    assert (await admin.http.post(f"/api/v1/admin/jobs/{uuid4()}/retry", json=WHY)).status_code == 404


async def test_pages_of_jobs_and_users_leave_nobody_out(admin: Person, new_job: NewJob) -> None:
    for _ in range(3):
        await new_job()
    for what, path in (("jobs", "/api/v1/admin/jobs"), ("users", "/api/v1/admin/users")):
        whole = [one["id"] for one in (await admin.http.get(f"{path}?limit=100")).json()[what]]
        assert len(whole) >= 2
        seen, before = [], ""
        while True:
            page = (await admin.http.get(f"{path}?limit=1{before}")).json()
            seen += [one["id"] for one in page[what]]
            if page["next_before"] is None:
                break
            before = f"&before={page['next_before']}"
        assert seen == whole


async def test_who_is_disabled_is_out_everywhere_until_let_in_again(
    address: str, admin: Person, anyone: httpx.AsyncClient
) -> None:
    async with person(address) as somebody:
        here = f"/api/v1/admin/users/{somebody.id}"
        key = await somebody.http.post("/api/v1/keys", json={"name": "k", "scopes": ["jobs:read"]})
        with_key = {"Authorization": f"Bearer {key.json()['api_key']}"}
        credentials = {"email": somebody.email, "password": PASSWORD}
        logged_in = (await anyone.post("/api/v1/auth/log-in", json=credentials)).json()
        assert (await anyone.get("/api/v1/jobs", headers=with_key)).status_code == 200

        out = await admin.http.post(f"{here}/disable", json=WHY)
        assert out.status_code == 200, out.text
        assert out.json()["disabled_at"] is not None
        assert (await admin.http.post(f"{here}/disable", json=WHY)).status_code == 409
        assert (await somebody.http.get("/api/v1/jobs")).status_code in (401, 403)
        assert (await anyone.get("/api/v1/jobs", headers=with_key)).status_code in (401, 403)
        refreshed = await anyone.post("/api/v1/auth/refresh", json={"refresh_token": logged_in["refresh_token"]})
        assert refreshed.status_code in (401, 403)
        refused = await anyone.post("/api/v1/auth/log-in", json=credentials)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        wrong = await anyone.post("/api/v1/auth/log-in", json={**credentials, "password": "not the password"})
        assert wrong.status_code == 401

        listed = (await admin.http.get(f"/api/v1/admin/users?disabled=true&text={somebody.email[:10].upper()}")).json()
        assert [user["id"] for user in listed["users"]] == [str(somebody.id)]
        assert (await admin.http.post(f"{here}/enable", json=WHY)).json()["disabled_at"] is None
        assert (await admin.http.post(f"{here}/enable", json=WHY)).status_code == 409
        assert (await anyone.post("/api/v1/auth/log-in", json=credentials)).status_code == 200
        assert (await anyone.get("/api/v1/jobs", headers=with_key)).status_code == 200
        assert [act["act"] for act in await acts(admin, somebody.id)] == ["enable_user", "disable_user"]


async def test_an_administrator_is_not_disabled_by_another(admin: Person) -> None:
    refused = await admin.http.post(f"/api/v1/admin/users/{admin.id}/disable", json=WHY)
    assert refused.status_code == 409
    assert (await admin.http.post(f"/api/v1/admin/users/{uuid4()}/disable", json=WHY)).status_code == 404


async def test_credits_by_hand_go_through_the_books_once(admin: Person, bob: Person, runtime: Runtime) -> None:
    here = f"/api/v1/admin/credits/{bob.id}"

    async def correct(amount: int, key: str) -> httpx.Response:
        body = {"amount": amount, "reason": "a broken dub"}
        return await admin.http.post(here, json=body, headers={"Idempotency-Key": key})

    before = (await runtime.credits.balance(bob.id)).available
    answers = await asyncio.gather(*(correct(25, "gift-1") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert len({answer.json()["transfer_id"] for answer in answers}) == 1
    assert (await runtime.credits.balance(bob.id)).available == before + 25
    assert (await correct(26, "gift-1")).status_code == 409
    assert (await correct(-25, "gift-1")).status_code == 409
    assert (await correct(-(before + 26), "too-much")).status_code == 402
    assert (await correct(-5, "back-1")).json()["balance"] == before + 20
    assert (await correct(0, "nothing")).status_code == 400
    assert (await admin.http.post(here, json={"amount": 1, "reason": "no key"})).status_code == 400
    nobody = f"/api/v1/admin/credits/{uuid4()}"
    to_nobody = await admin.http.post(nobody, json={"amount": 1, "reason": "r"}, headers={"Idempotency-Key": "k"})
    assert to_nobody.status_code == 404
    done = await acts(admin, bob.id)
    assert [(act["act"], act["details"]["amount"]) for act in done] == [("adjust_credits", -5), ("adjust_credits", 25)]
    lines = (await bob.http.get("/api/v1/billing/transactions")).json()["transactions"]
    assert [line["reason"] for line in lines[:2]] == ["a broken dub", "a broken dub"]


async def test_what_runs_is_shown_as_it_told_itself(admin: Person, runtime: Runtime) -> None:
    async def detail() -> dict[str, Any]:
        return {"nodes": 1, "deployments": {"Asr": {"RUNNING": 2}}}

    async with Presence(runtime.redis, "worker", detail) as worker:
        await worker.tell()
        processes = (await admin.http.get("/api/v1/admin/nodes")).json()["processes"]
    assert {"Asr": {"RUNNING": 2}} in [process["cluster"].get("deployments") for process in processes]


async def test_retention_says_what_would_go_and_goes_when_told(
    admin: Person, alice: Person, new_job: NewJob, runtime: Runtime, worker: ScriptedWorker, app: Any
) -> None:
    cleaner = app.state.services.cleaner
    kept = cleaner._settings
    cleaner._settings = kept.model_copy(update={"results_days": 30})
    try:
        job = await new_job(submit=True)
        await worker.play(job["id"])
        assert (await admin.http.get("/api/v1/admin/retention")).json()["due"]["jobs"] == 0
        await runtime.pool.execute(
            "update job set finished_at = now() - interval '31 days' where id = $1", UUID(job["id"])
        )
        due = (await admin.http.get("/api/v1/admin/retention")).json()["due"]
        assert (due["jobs"], due["objects"] >= 2, due["bytes"] > 0) == (1, True, True)
        told = await admin.http.post("/api/v1/admin/retention/run", json=WHY)
        assert told.status_code == 202

        async def gone() -> bool:
            return len((await admin.http.get("/api/v1/admin/retention")).json()["last"]) == 1

        await eventually(gone, "the cleaning is written down")
        (went,) = (await admin.http.get("/api/v1/admin/retention")).json()["last"]
        assert (went["jobs"], went["bytes"] > 0) == (1, True)
        assert (await alice.http.get(f"/api/v1/jobs/{job['id']}")).status_code == 404
    finally:
        cleaner._settings = kept


async def test_acts_are_for_ever(admin: Person, runtime: Runtime) -> None:
    async with asyncio.timeout(10):
        for statement in ("update admin_act set reason = 'x'", "delete from admin_act", "truncate admin_act"):
            with pytest.raises(asyncpg.RestrictViolationError):
                await runtime.pool.execute(statement)


async def test_nobody_signs_up_as_an_administrator(anyone: httpx.AsyncClient, settings: Settings) -> None:
    refused = await anyone.post(
        "/api/v1/auth/sign-up", json={"email": "a@example.org", "password": PASSWORD, "role": "admin"}
    )
    assert refused.status_code == 400
    assert settings.database_url is not None
    async with Database(settings.database_url.get_secret_value()) as database:
        assert await database.fetchval("select count(*) from account where role = 'admin'") == 1
