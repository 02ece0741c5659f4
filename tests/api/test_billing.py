"""Credits over the wire, on a server that charges."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from octavia_stream.billing.audit import LedgerAudit, audit_ledger
from octavia_stream.config import BillingSettings, Settings
from octavia_stream.runtime import Runtime
from tests.api.conftest import Person, ScriptedWorker, create_job, person, upload_video

pytestmark = pytest.mark.services

FREE = 5


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"billing": BillingSettings(enabled=True, free_credits=FREE)})


@pytest.fixture
async def carol(address: str) -> AsyncIterator[Person]:
    """Somebody new in every test."""
    async with person(address) as somebody:
        yield somebody


async def balance(somebody: Person) -> dict[str, Any]:
    answer = await somebody.http.get("/api/v1/billing/balance")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_job_is_quoted_held_for_charged_and_told(
    carol: Person, worker: ScriptedWorker, runtime: Runtime
) -> None:
    assert await balance(carol) == {"enabled": True, "balance": FREE, "held": 0, "available": FREE, "holds": []}
    upload = await upload_video(carol)
    job = await create_job(carol, upload["id"])
    quote = (await carol.http.get(f"/api/v1/jobs/{job['id']}/quote")).json()
    price = -(-round(upload["duration_s"] * 1000) * 10 // 60_000)
    assert 1 <= price <= FREE
    assert quote == {
        "job_id": job["id"],
        "kind": "video-translate",
        "seconds": upload["duration_s"],
        "minutes": round(upload["duration_s"] / 60, 2),
        "credits": price,
        "exact": True,
        "estimated_s": None,
        "available": FREE,
        "affordable": True,
    }
    answers = await asyncio.gather(*(carol.http.post(f"/api/v1/jobs/{job['id']}/process") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    waiting = await balance(carol)
    assert (waiting["held"], waiting["available"], waiting["balance"]) == (price, FREE - price, FREE)
    assert [(hold["job_id"], hold["amount"]) for hold in waiting["holds"]] == [(job["id"], price)]
    await worker.take(job["id"])
    await worker.complete()
    # Now that one was done it is known how fast this server is.
    quote = (await carol.http.get(f"/api/v1/jobs/{job['id']}/quote")).json()
    assert isinstance(quote["estimated_s"], float)
    assert (await balance(carol))["balance"] == FREE - price
    page = (await carol.http.get("/api/v1/billing/transactions")).json()
    assert [(line["type"], line["amount"], line["balance_after"]) for line in page["transactions"]] == [
        ("capture", -price, FREE - price),
        ("grant", FREE, FREE),
    ]
    assert page["transactions"][0]["job_id"] == job["id"]
    assert set(page["transactions"][0]) == {
        "id", "type", "amount", "reason", "balance_after", "created_at", "job_id",
    }  # fmt: skip
    assert await audit_ledger(runtime.pool) == LedgerAudit(0, 0, 0, 0)


async def test_fifty_who_create_and_start_under_one_key_make_one_job_and_one_reservation(
    carol: Person, runtime: Runtime
) -> None:
    upload = await upload_video(carol)
    wish, key = {"upload_id": upload["id"], "target_language": "pt"}, {"Idempotency-Key": f"once-{carol.id}"}
    start = {"Idempotency-Key": f"start-{carol.id}"}

    async def create_and_start() -> tuple[str, int]:
        while (made := await carol.http.post("/api/v1/jobs/video-translate/create", json=wish, headers=key)).is_error:
            assert made.status_code in (409, 503), made.text  # the first is under way, or the machine is crowded
        job_id: str = made.json()["id"]
        while (started := await carol.http.post(f"/api/v1/jobs/{job_id}/process", headers=start)).is_error:
            assert started.status_code in (409, 503), started.text
        return job_id, started.status_code

    answers = await asyncio.gather(*(create_and_start() for _ in range(50)))
    ((job_id, status),) = set(answers)
    assert status == 202
    assert [job["id"] for job in (await carol.http.get("/api/v1/jobs")).json()["jobs"]] == [job_id]
    booked = await runtime.pool.fetch("select kind, job_id from credit_transfer where owner_id = $1", carol.id)
    assert sorted((row["kind"], str(row["job_id"])) for row in booked) == [("grant", "None"), ("reserve", job_id)]
    assert [hold["job_id"] for hold in (await balance(carol))["holds"]] == [job_id]


async def test_without_enough_credits_a_job_does_not_start(carol: Person, runtime: Runtime) -> None:
    await runtime.credits.adjust(carol.id, -FREE, key=f"all/{carol.id}", reason="All gone.")
    upload = await upload_video(carol)
    job = await create_job(carol, upload["id"])
    refused = await carol.http.post(f"/api/v1/jobs/{job['id']}/process")
    assert (refused.status_code, refused.json()["code"]) == (402, "insufficient_credits")
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["detail"].endswith("buy more first.")
    quote = (await carol.http.get(f"/api/v1/jobs/{job['id']}/quote")).json()
    assert (quote["affordable"], quote["available"]) == (False, 0)
    assert (await carol.http.get(f"/api/v1/jobs/{job['id']}")).json()["submitted_at"] is None


async def test_transactions_come_page_by_page(carol: Person, bob: Person, runtime: Runtime) -> None:
    for number in range(6):
        await runtime.credits.grant(carol.id, number + 1, key=f"{number}/{carol.id}", reason=f"Gift {number}.")
    url, seen = "/api/v1/billing/transactions?limit=3&type=grant", []
    while url:
        page = await carol.http.get(url)
        seen += page.json()["transactions"]
        url = page.links.get("next", {}).get("url", "")
        assert (page.json()["next_before"] is not None) == bool(url)
    assert [line["amount"] for line in seen] == [6, 5, 4, 3, 2, 1, FREE]
    assert sum(line["amount"] for line in seen) == seen[0]["balance_after"]
    others = (await bob.http.get(f"/api/v1/billing/transactions?before={seen[0]['id']}")).json()
    assert others == {"transactions": [], "next_before": None}
    assert (await carol.http.get("/api/v1/billing/transactions?type=capture")).json()["transactions"] == []
    assert (await carol.http.get("/api/v1/billing/transactions?type=theft")).status_code == 400


async def test_anybody_may_read_the_prices(anyone: httpx.AsyncClient) -> None:
    pricing = (await anyone.get("/api/v1/billing/pricing")).json()
    assert (pricing["enabled"], pricing["currency"], pricing["free_credits"]) == (True, "usd", FREE)
    assert pricing["credits_per_minute"]["video-translate"] == 10
    assert all(package["credits"] > 0 and not package["on_sale"] for package in pricing["packages"])
    assert "polar" not in str(pricing)
