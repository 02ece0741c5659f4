"""What Prometheus is told: by whom, of what, and that the sums of all processes are right."""

import asyncio
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr

from api.app import create_app
from octavia_stream.config import Settings
from octavia_stream.errors import DependencyUnavailable
from octavia_stream.runtime import Runtime
from octavia_stream.telemetry import metrics
from octavia_stream.telemetry.process_card import Presence, present, send_counts
from tests.api.conftest import NewJob, Person, ScriptedWorker, eventually, person, serving

pytestmark = pytest.mark.services

TOKEN = "of the operator"
AS_OPERATOR = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"metrics_token": SecretStr(TOKEN)})


@pytest.fixture(scope="module")
async def operator(address: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=address, timeout=30, headers=AS_OPERATOR) as client:
        yield client


async def samples(operator: httpx.AsyncClient) -> dict[str, float]:
    """Every sample by its name and labels, as written."""
    answer = await operator.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    lines = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


async def test_only_the_operator_s_token_opens_it(anyone: httpx.AsyncClient, alice: Person) -> None:
    assert (await anyone.get("/metrics")).status_code == 404
    assert (await alice.http.get("/metrics")).status_code == 404
    for wrong in ("Bearer", f"bearer {TOKEN}", f"Bearer {TOKEN}x", "Basic b2Y="):
        assert (await anyone.get("/metrics", headers={"Authorization": wrong})).status_code == 404
    assert "/metrics" not in (await anyone.get("/schema/openapi.json")).json()["paths"]


async def test_a_server_without_a_token_has_no_metrics(settings: Settings) -> None:
    bare = settings.model_copy(update={"metrics_token": None})
    async with serving(create_app(bare), bare) as address, httpx.AsyncClient(base_url=address) as client:
        for header in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer None"}, AS_OPERATOR):
            assert (await client.get("/metrics", headers=header)).status_code == 404


async def test_a_job_is_found_in_the_numbers(
    operator: httpx.AsyncClient, new_job: NewJob, worker: ScriptedWorker, alice: Person
) -> None:
    before = await samples(operator)
    waiting = await new_job(submit=True)
    queued = await samples(operator)
    assert queued["octavia_queue_jobs"] == 1
    assert queued["octavia_queue_age_seconds"] >= 0
    assert queued['octavia_jobs{kind="video-translate",status="waiting"}'] == 1
    await worker.play(waiting["id"])
    after = await samples(operator)
    ended = 'octavia_jobs_ended_total{kind="video-translate",status="completed"}'
    grown = {name: after[name] - before.get(name, 0.0) for name in after}
    assert after["octavia_queue_jobs"] == 0
    assert grown[ended] == 1
    assert grown['octavia_jobs_submitted_total{kind="video-translate"}'] == 1
    assert grown['octavia_events_appended_total{type="completed"}'] == 1
    assert after['octavia_storage_bytes{what="uploads"}'] > 0
    assert after['octavia_dependency_up{dependency="postgres"}'] == 1
    labels = 'method="POST",route="/api/v1/jobs/{job_id}/process",status="202"'
    requests = f"octavia_http_request_seconds_count{{{labels}}}"

    async def request_counted() -> bool:
        return (await samples(operator)).get(requests, 0.0) == before.get(requests, 0.0) + 1

    # An answer may be here before the request is over.
    await eventually(request_counted, requests)
    await alice.http.get(f"/api/v1/jobs/{waiting['id']}/nothing/{waiting['id']}")
    assert not any(re.search(r"[0-9a-f]{8}-[0-9a-f]{4}|@", name) for name in await samples(operator))


async def test_what_was_brought_is_counted_by_its_bytes(operator: httpx.AsyncClient, address: str) -> None:
    name = 'octavia_upload_bytes_total{type="text"}'
    before = (await samples(operator)).get(name, 0.0)
    subtitles = b"1\n00:00:00,000 --> 00:00:01,000\nHello.\n"
    async with person(address) as somebody:
        answer = await somebody.http.post(
            "/api/v1/upload?file_type=subtitle", files={"file": ("a.srt", subtitles, "application/x-subrip")}
        )
        assert answer.status_code == 201, answer.text
    found = await samples(operator)
    kinds = {key: value for key, value in found.items() if key.startswith("octavia_upload_bytes_total")}
    assert sum(kinds.values()) - before >= len(subtitles)


async def test_who_watches_is_counted_while_they_do(
    operator: httpx.AsyncClient, new_job: NewJob, alice: Person, runtime: Runtime
) -> None:
    name = 'octavia_event_clients{transport="sse"}'
    job = await new_job()
    async with alice.http.stream("GET", f"/api/v1/jobs/{job['id']}/events") as stream:
        assert await anext(stream.aiter_lines()) is not None
        assert metrics.process_gauges()['["octavia_event_clients",{"transport":"sse"}]'] == 1
        # Another process with as many: what all have is added up.
        async with Presence(runtime.redis, "api") as other:
            await other.tell()
            assert (await samples(operator))[name] >= 1


async def test_counts_are_sent_once_and_kept_while_redis_is_away(runtime: Runtime) -> None:
    class Away:
        async def add_counts(self, changes: dict[str, float]) -> None:
            raise DependencyUnavailable

    key = '["octavia_leases_lost_total",{}]'
    await send_counts(runtime.redis)
    before = (await runtime.redis.counts()).get(key, 0.0)
    metrics.LEASES_LOST.inc()
    with pytest.raises(DependencyUnavailable):
        await send_counts(Away())  # type: ignore[arg-type]
    await asyncio.gather(*(send_counts(runtime.redis) for _ in range(3)))
    assert (await runtime.redis.counts())[key] == before + 1


async def test_a_card_goes_with_its_process(runtime: Runtime, operator: httpx.AsyncClient) -> None:
    async def detail() -> dict[str, object]:
        return {"replicas": 2}

    async with Presence(runtime.redis, "worker", detail) as presence:
        await presence.tell()
        assert {"replicas": 2} in [card.detail for card in await present(runtime.redis) if card.role == "worker"]
        assert (await samples(operator))['octavia_processes{role="worker"}'] >= 1

    async def gone() -> bool:
        return {"replicas": 2} not in [card.detail for card in await present(runtime.redis)]

    await eventually(gone, "the card goes")
