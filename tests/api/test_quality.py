"""How good a dub is, as its owner is told."""

import json
from typing import Any

import pytest

from octavia_stream.events.event import QualityFinding
from octavia_stream.jobs.quality import Coverage, DubQuality, Loudness, QualityReport, Timing
from octavia_stream.runtime import Runtime
from tests.api.conftest import NewJob, Person, ScriptedWorker

pytestmark = pytest.mark.services

FINDING = QualityFinding("pt", "loudness", -9.0, 6.0, "The dub is 9.0 LU quieter than the original.")
DUB = DubQuality(
    "pt",
    False,
    [FINDING],
    Coverage(3, 3, 1.0),
    Timing(1.0, 0.0, 0.0, 0, 0, 0.0, 0.0, 1.0),
    Loudness(-32.0, -23.0, -9.0, -6.0),
    None,
    "The file is too short for the share of it that is heard again.",
    [],
)
GOOD = DubQuality("pt", True, [], DUB.coverage, DUB.timing, DUB.loudness, None, DUB.unheard, [])


async def played(worker: ScriptedWorker, job: dict[str, Any], quality: QualityReport) -> None:
    await worker.take(job["id"])
    await worker.complete(quality=quality)


async def types(runtime: Runtime, worker: ScriptedWorker) -> list[str]:
    records = await runtime.jobs.events_after(worker.claim.job.id, 0)
    return [str(record.event.__struct_config__.tag) for record in records]


async def test_a_report_is_there_once_the_dub_is(
    alice: Person, bob: Person, new_job: NewJob, worker: ScriptedWorker
) -> None:
    job = await new_job(submit=True)
    where = f"/api/v1/jobs/{job['id']}/quality"
    assert (await alice.http.get(where)).status_code == 404
    await played(worker, job, QualityReport(False, [DUB]))
    told = (await alice.http.get(where)).json()
    assert (told["passed"], told["schema"]) == (False, 1)
    assert told["dubs"][0]["failed"] == [
        {"language": "pt", "check": "loudness", "value": -9.0, "limit": 6.0, "message": FINDING.message}
    ]
    assert told["dubs"][0]["unheard"] == DUB.unheard
    assert (await bob.http.get(where)).status_code == 404


async def test_what_is_not_good_enough_is_told_before_the_end_and_what_is_is_not(
    runtime: Runtime, new_job: NewJob, worker: ScriptedWorker
) -> None:
    await played(worker, await new_job(submit=True), QualityReport(False, [DUB]))
    assert (await types(runtime, worker))[-2:] == ["quality", "completed"]
    await played(worker, await new_job(submit=True), QualityReport(True, [GOOD]))
    assert "quality" not in await types(runtime, worker)


async def test_webhooks_are_told_of_a_job_that_has_ended(
    alice: Person, runtime: Runtime, new_job: NewJob, worker: ScriptedWorker
) -> None:
    # Nobody delivers here: what is to be told stands in the outbox.
    wish = {"url": "https://example.org/hook", "events": ["job.quality"]}
    hook = (await alice.http.post("/api/v1/webhooks", json=wish)).json()["webhook"]
    job = await new_job(submit=True)
    await played(worker, job, QualityReport(False, [DUB]))
    payload = await runtime.pool.fetchval(
        "select payload from webhook_message join webhook_delivery on message_id = webhook_message.id"
        " where endpoint_id = $1",
        hook["id"],
    )
    told = payload if isinstance(payload, dict) else json.loads(payload)
    assert (told["type"], told["data"]["job_id"], told["data"]["status"]) == ("job.quality", job["id"], "completed")
    assert (await alice.http.delete(f"/api/v1/webhooks/{hook['id']}")).status_code == 204


async def test_a_job_that_was_cancelled_first_has_none(
    alice: Person, runtime: Runtime, new_job: NewJob, worker: ScriptedWorker
) -> None:
    job = await new_job(submit=True)
    await worker.take(job["id"])
    assert (await alice.http.post(f"/api/v1/jobs/{job['id']}/cancel")).status_code == 202
    await worker.complete(quality=QualityReport(False, [DUB]))
    assert (await alice.http.get(f"/api/v1/jobs/{job['id']}/quality")).status_code == 404
    assert "quality" not in await types(runtime, worker)
