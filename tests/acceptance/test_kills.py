"""kill -9 anything in the middle of a job: it completes once, nothing finished is redone, no event is missed."""

import asyncio
import signal
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import psutil
import pytest

from octavia_stream.audit.invariants import audit
from octavia_stream.events.event import ArtifactReady, Completed, JobEventRecord, Progress, SegmentDubbed
from tests.acceptance.conftest import DATA, Running

pytestmark = [pytest.mark.acceptance, pytest.mark.ray, pytest.mark.services, pytest.mark.timeout(300)]

TALK = DATA / "speech" / "en" / "lj_printing_4min.flac"
SEGMENTS_BEFORE_THE_KILL = 5


async def run_and_kill(
    running: Running, kill: Callable[[Running], None]
) -> tuple[UUID, list[JobEventRecord], datetime]:
    """Run a job to its end, and kill something when a few segments are spoken."""
    upload = await running.client.upload(TALK, lambda _: None)
    job_id = await running.client.create_job({"upload_id": upload, "target_language": "pt", "source_language": "en"})
    records: list[JobEventRecord] = []
    killed_at: datetime | None = None
    async with asyncio.timeout(200):
        async for record in running.client.events(job_id):
            records.append(record)
            spoken = sum(isinstance(other.event, SegmentDubbed) for other in records)
            if killed_at is None and spoken >= SEGMENTS_BEFORE_THE_KILL:
                killed_at = await running.runtime.pool.fetchval("select now()")
                kill(running)
    assert killed_at is not None
    return UUID(job_id), records, killed_at


async def check(running: Running, job_id: UUID, records: list[JobEventRecord], killed_at: datetime) -> None:
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert isinstance(records[-1].event, Completed)
    assert sum(isinstance(record.event, Completed) for record in records) == 1
    percents = [record.event.percent for record in records if isinstance(record.event, Progress)]
    assert percents == sorted(percents)
    rows = await running.runtime.pool.fetch("select * from chunk where job_id = $1", job_id)
    assert all(row["state"] == "done" for row in rows)
    finished_before = [row for row in rows if row["finished_at"] < killed_at]
    assert len(finished_before) > SEGMENTS_BEFORE_THE_KILL
    assert all(row["attempts"] == 1 for row in finished_before)
    stored = await running.runtime.pool.fetch("select seq from job_event where job_id = $1 order by seq", job_id)
    assert [row["seq"] for row in stored] == [record.seq for record in records]
    job = await running.client.job(str(job_id))
    assert job["status"] == "completed"
    names = [artifact["name"] for artifact in job["artifacts"]]
    assert len(names) == len(set(names))
    last_told = {record.event.name for record in records if isinstance(record.event, ArtifactReady)}
    assert last_told == set(names)
    await nothing_is_off(running)


async def nothing_is_off(running: Running) -> None:
    """Everything is counted, as `octavia audit` does: leftovers of a killed worker too, once its successor is up."""
    async with asyncio.timeout(60):
        while True:
            found = await audit(
                running.runtime.pool, running.runtime.objects, running.home, deadline_s=60.0, grace_s=0.0
            )
            if found.count("scratch") == 0:
                break
            await asyncio.sleep(0.5)
    assert found.clean, [breach for breach in found.breaches if breach.count]


def kill_replica(deployment: str) -> Callable[[Running], None]:
    def kill(running: Running) -> None:
        running.replica(deployment).send_signal(signal.SIGKILL)

    return kill


def kill_api(running: Running) -> None:
    psutil.Process(running.stack.pids()["api"]).send_signal(signal.SIGKILL)


@pytest.mark.parametrize("deployment", ["Asr", "Mt", "Tts", "JobWorker"])
async def test_a_killed_replica_costs_only_what_was_in_flight(scripted_stack: Running, deployment: str) -> None:
    job_id, records, killed_at = await run_and_kill(scripted_stack, kill_replica(deployment))
    await check(scripted_stack, job_id, records, killed_at)


async def test_a_killed_api_loses_no_event_of_a_client_that_reconnects(scripted_stack: Running) -> None:
    job_id, records, killed_at = await run_and_kill(scripted_stack, kill_api)
    await check(scripted_stack, job_id, records, killed_at)
