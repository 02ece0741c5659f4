"""The walk of a job as its owner sees it: create, process, watch, read, cancel."""

from typing import Any
from uuid import uuid4

import pytest

from octavia_stream.runtime import Runtime
from tests.api.conftest import RESULT, NewJob, Person, ScriptedWorker, create_job, person, upload_video

pytestmark = pytest.mark.services


async def test_a_talk_goes_in_and_a_dub_comes_out(alice: Person, worker: ScriptedWorker) -> None:
    upload = await upload_video(alice, "My talk.mov")
    job = await create_job(alice, upload["id"], source_language="en-GB")
    assert (job["status"], job["percent"], job["artifacts"]) == ("pending", 0.0, [])
    assert job["options"]["source_language"] == "en"
    assert job["options"]["voice"]

    accepted = await alice.http.post(f"/api/v1/jobs/{job['id']}/process")
    assert accepted.status_code == 202
    assert accepted.headers["Location"] == job["links"]["self"]

    await worker.take(job["id"])
    await worker.progress(40.0, remaining_s=12.5)
    half = (await alice.http.get(accepted.headers["Location"])).json()
    assert (half["status"], half["phase"], half["percent"]) == ("processing", "TRANSCRIBING", 40.0)
    assert half["remaining_s"] == 12.5
    assert half["stages"]["transcribe"] == {"done": 40, "total": 100, "final": True}
    assert half["links"]["download"] is None

    await worker.complete()
    done = (await alice.http.get(accepted.headers["Location"])).json()
    assert (done["status"], done["error"], done["remaining_s"]) == ("completed", None, None)
    assert done["report"] == {"segments": 3, "share_in_slot": 1.0}
    assert [artifact["name"] for artifact in done["artifacts"]] == ["dub.mp4", "source.srt"]

    dub = await alice.http.get(done["links"]["download"])
    assert dub.content == RESULT
    assert 'filename="My talk.pt.mp4"' in dub.headers["Content-Disposition"]
    for artifact in done["artifacts"]:
        assert len((await alice.http.get(artifact["url"])).content) == artifact["size"]


async def test_what_becomes_of_a_sentence_that_nobody_can_speak_is_the_caller_s_choice(
    alice: Person, new_job: NewJob
) -> None:
    assert (await new_job())["options"]["on_chunk_failure"] == "fail"
    assert (await new_job(on_chunk_failure="keep_original"))["options"]["on_chunk_failure"] == "keep_original"
    wish = {"upload_id": str(uuid4()), "target_language": "pt", "on_chunk_failure": "guess"}
    assert (await alice.http.post("/api/v1/jobs/video-translate/create", json=wish)).status_code == 400


async def test_process_twice_is_process_once(alice: Person, new_job: NewJob) -> None:
    job = await new_job()
    first = await alice.http.post(f"/api/v1/jobs/{job['id']}/process")
    second = await alice.http.post(f"/api/v1/jobs/{job['id']}/process")
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()


async def test_a_failed_job_says_why(alice: Person, new_job: NewJob, worker: ScriptedWorker) -> None:
    job = await new_job(submit=True)
    await worker.take(job["id"])
    await worker.fail("no_speech", "There is no speech in this file.")
    failed = (await alice.http.get(f"/api/v1/jobs/{job['id']}")).json()
    assert failed["status"] == "failed"
    assert failed["error"] == {"code": "no_speech", "message": "There is no speech in this file."}
    assert (await alice.http.get(f"/api/v1/jobs/{job['id']}/download")).status_code == 409


async def test_a_waiting_job_is_cancelled_at_once_and_only_once(alice: Person, new_job: NewJob) -> None:
    job = await new_job()
    cancelled = await alice.http.post(f"/api/v1/jobs/{job['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    for action in ("cancel", "process"):
        again = await alice.http.post(f"/api/v1/jobs/{job['id']}/{action}")
        assert (again.status_code, again.json()["code"]) == (409, "conflict")


async def test_a_running_job_learns_that_it_is_cancelled(
    alice: Person, new_job: NewJob, worker: ScriptedWorker, runtime: Runtime
) -> None:
    job = await new_job(submit=True)
    await worker.take(job["id"])
    asked = await alice.http.post(f"/api/v1/jobs/{job['id']}/cancel")
    assert (asked.json()["status"], asked.json()["cancel_requested"]) == ("processing", True)
    assert await runtime.jobs.heartbeat(worker.claim, 10.0)
    await runtime.jobs.finish(worker.claim, "cancelled")
    assert (await alice.http.get(f"/api/v1/jobs/{job['id']}")).json()["status"] == "cancelled"


async def test_jobs_are_listed_newest_first_page_by_page(address: str) -> None:
    async with person(address) as carol:
        upload = await upload_video(carol)
        made = [(await create_job(carol, upload["id"]))["id"] for _ in range(5)]
        url, listed = "/api/v1/jobs?limit=2", []
        while url:
            page = await carol.http.get(url)
            listed += [job["id"] for job in page.json()["jobs"]]
            url = page.links.get("next", {}).get("url", "")
            assert (page.json()["next_before"] is not None) == bool(url)
        assert listed == made[::-1]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"target_language": "zu"}, "unsupported_language"),
        ({"target_language": "klingon"}, "unsupported_language"),
        ({"target_language": "pt", "voice": "nobody/here"}, "unsupported_language"),
        ({"target_language": "pt", "source_language": "xx"}, "unsupported_language"),
        ({"target_language": "pt", "audio_track": 7}, "media_rejected"),
    ],
)
async def test_what_no_model_can_do_is_refused_in_a_sentence(alice: Person, options: dict[str, Any], code: str) -> None:
    upload = await upload_video(alice)
    answer = await alice.http.post("/api/v1/jobs/video-translate/create", json={"upload_id": upload["id"], **options})
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == code
    assert problem["detail"].endswith(".")
    assert "Traceback" not in problem["detail"]


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"upload_id": "not-an-id", "target_language": "pt"},
        {"upload_id": str(uuid4()), "target_language": "pt", "unknown": 1},
        {"upload_id": str(uuid4()), "target_language": "p"},
        {"upload_id": str(uuid4()), "target_language": "pt", "original_gain_db": 3.0},
        {"upload_id": str(uuid4()), "target_language": "pt", "audio_track": -1},
        {"upload_id": str(uuid4()), "target_language": "pt", "keep_original_track": "yes"},
        [],
    ],
)
async def test_a_wish_of_another_shape_is_refused(alice: Person, wish: Any) -> None:
    answer = await alice.http.post("/api/v1/jobs/video-translate/create", json=wish)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


async def test_an_upload_that_does_not_exist_is_not_found(alice: Person) -> None:
    wish = {"upload_id": str(uuid4()), "target_language": "pt"}
    answer = await alice.http.post("/api/v1/jobs/video-translate/create", json=wish)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
