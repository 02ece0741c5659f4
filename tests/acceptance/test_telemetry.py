"""One job, seen by an operator: one trace through every process, log lines under its ids, its numbers, what runs."""

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from octavia_stream.admin.acts import COMMAND_LINE, Actor
from octavia_stream.admin.users import UserDirectory
from octavia_stream.cli.client import local_credentials
from tests.acceptance.conftest import DATA, Running, running_stack, stack_home

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.ray,
    pytest.mark.services,
    pytest.mark.model,
    pytest.mark.timeout(400),
]

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENT_SPAN = "00f067aa0ba902b7"
TOKEN = "of-the-operator"
CREATED, PROCESSED = "created-7", "processed-7"
SERVICES = {"octavia-api", "octavia-worker", "octavia-asr", "octavia-mt", "octavia-tts"}


@dataclass
class Collector:
    """Takes OTLP on loopback, as a collector does."""

    url: str = ""
    services: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Names of spans of the one trace, by the service they are from."""
    parents: dict[str, str] = field(default_factory=dict)
    """Of the one trace: span → its parent."""

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            (service,) = [a.value.string_value for a in resource.resource.attributes if a.key == "service.name"]
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                if span.trace_id.hex() == TRACE_ID:
                    self.services[service].add(span.name)
                    self.parents[span.span_id.hex()] = span.parent_span_id.hex()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
async def stack(collector: Collector) -> AsyncIterator[Running]:
    with stack_home() as home:
        async with running_stack(
            home,
            serve={"engines": "octavia_stream.testing"},
            telemetry={"otlp_endpoint": collector.url},
            metrics_token=TOKEN,
            log_format="json",
        ) as running:
            yield running


@pytest.fixture(scope="module")
async def http(stack: Running) -> AsyncIterator[httpx.AsyncClient]:
    """The owner of the job, who is an administrator as well."""
    credentials = local_credentials(stack.home)
    await UserDirectory(stack.runtime.pool).grant_admin(Actor(None, COMMAND_LINE), credentials.email, "a test")
    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as client:
        body = {"email": credentials.email, "password": credentials.password}
        token = (await client.post("/api/v1/auth/log-in", json=body)).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


@pytest.fixture(scope="module")
async def job_id(stack: Running, http: httpx.AsyncClient) -> str:
    """Of a job that is done; its requests had ids and a trace of the client's."""
    upload = await stack.client.upload(DATA / "video" / "muxed_en.mkv", lambda _: None)
    wish = {"upload_id": upload, "target_language": "pt"}
    created = await http.post("/api/v1/jobs/video-translate/create", json=wish, headers={"X-Request-ID": CREATED})
    assert created.status_code == 201, created.text
    found: str = created.json()["id"]
    headers = {"X-Request-ID": PROCESSED, "traceparent": f"00-{TRACE_ID}-{CLIENT_SPAN}-01"}
    assert (await http.post(f"/api/v1/jobs/{found}/process", headers=headers)).status_code == 202
    async with asyncio.timeout(180):
        async for _ in stack.client.events(found):
            pass
    assert (await stack.client.job(found))["status"] == "completed"
    return found


async def test_one_trace_runs_through_every_process(job_id: str, collector: Collector) -> None:
    async with asyncio.timeout(60):
        while collector.services.keys() < SERVICES or "job" not in collector.services["octavia-worker"]:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        # The last batches may still be on their way: then a span has a parent that is not here yet.
        while set(collector.parents.values()) - collector.parents.keys() != {CLIENT_SPAN}:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert collector.services["octavia-api"] == {"POST /api/v1/jobs/{job_id}/process"}
    assert collector.services["octavia-worker"] == {"job", "transcribe", "translate", "synthesize"}
    for role in ("asr", "mt", "tts"):
        assert collector.services[f"octavia-{role}"] == {role}


async def test_the_log_of_every_process_knows_the_job_and_its_requests(stack: Running, job_id: str) -> None:
    async with asyncio.timeout(60):
        while not {"asr", "mt", "tts"} <= {line.get("role") for line in lines_of(stack.home, job_id)}:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    lines = lines_of(stack.home, job_id)
    calls = [line for line in lines if line["event"] == "engine_call"]
    assert {line["outcome"] for line in calls} == {"ok"}
    of_worker = [line for line in lines if line["event"] in ("job_taken", "job_done")]
    assert len(of_worker) == 2
    for line in (*calls, *of_worker):
        assert (line["request_id"], line["created_request_id"]) == (PROCESSED, CREATED)
    api = [json.loads(line) for line in (stack.home / "logs" / "api.log").read_text().splitlines() if "{" in line]
    assert {PROCESSED, CREATED} <= {line.get("request_id") for line in api}


async def test_an_administrator_finds_the_job_by_its_request_and_what_works_on_it(
    http: httpx.AsyncClient, job_id: str
) -> None:
    for request_id in (CREATED, PROCESSED):
        found = (await http.get(f"/api/v1/admin/jobs?request_id={request_id}")).json()["jobs"]
        assert [job["id"] for job in found] == [job_id]
    processes: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while {process["role"] for process in processes} != {"api", "worker", "asr", "mt", "tts"}:
            await asyncio.sleep(0.2)
            processes = (await http.get("/api/v1/admin/nodes")).json()["processes"]
    (cluster,) = [process["cluster"] for process in processes if process["role"] == "worker"]
    # The live node comes when these are there.
    assert cluster["deployments"].keys() - {"LiveNode"} == {"Asr", "Mt", "Tts", "JobWorker"}
    assert cluster["deployments"]["Tts"]["replicas"] == {"RUNNING": 1}
    assert [node["alive"] for node in cluster["nodes"]] == [True]
    async with asyncio.timeout(60):
        while (await http.get("/readyz")).json() != {"status": "ready"}:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def test_the_numbers_of_worker_and_replicas_are_read_at_the_api(http: httpx.AsyncClient, job_id: str) -> None:
    stages = ("transcribe", "translate", "synthesize")
    expected = {f'octavia_{what}_seconds_count{{stage="{stage}"}}' for what in ("stage", "engine") for stage in stages}
    expected |= {
        'octavia_stage_seconds_count{stage="assemble"}',
        'octavia_job_real_time_ratio_count{kind="video-translate"}',
        'octavia_jobs_ended_total{kind="video-translate",status="completed"}',
        'octavia_engine_batch_calls_count{stage="transcribe"}',
    }
    found: dict[str, float] = {}
    async with asyncio.timeout(60):
        while not expected <= {name for name, value in found.items() if value > 0}:
            await asyncio.sleep(0.2)
            answer = await http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
            lines = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
            found = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}
    media_s = found['octavia_stage_media_seconds_total{stage="transcribe"}']
    assert 1 < media_s <= found['octavia_stage_media_seconds_total{stage="assemble"}'] + 1


def lines_of(home: Path, job_id: str) -> list[dict[str, Any]]:
    """Log lines of worker and replicas that name the job; each is one JSON object."""
    found = []
    for path in (home / "ray").rglob("*.err"):
        for line in path.read_text(errors="replace").splitlines():
            if job_id in line and line.startswith("{"):
                found.append(json.loads(line))
    return found
