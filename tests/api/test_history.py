"""What becomes of jobs and uploads afterwards: found again, run again, removed."""

from typing import Any
from uuid import uuid4

import pytest

from octavia_stream.runtime import Runtime
from tests.api.conftest import NewJob, Person, ScriptedWorker, create_job, person, upload_video

pytestmark = pytest.mark.services


async def listed(somebody: Person, **filters: Any) -> list[str]:
    """Ids of all pages, newest first."""
    found: list[str] = []
    url: str | None = "/api/v1/jobs"
    query: dict[str, Any] | None = {"limit": 1, **filters}
    while url is not None:
        answer = await somebody.http.get(url, params=query)
        assert answer.status_code == 200, answer.text
        found += [job["id"] for job in answer.json()["jobs"]]
        url, query = answer.links.get("next", {}).get("url"), None
    return found


async def test_a_history_is_searched_page_by_page(address: str) -> None:
    async with person(address) as carol:
        talk = await upload_video(carol, "100%_Talk.mp4")
        film = await upload_video(carol, "a film.mp4")
        first = await create_job(carol, talk["id"])
        second = await create_job(carol, film["id"], target_language="en", source_language="pt")
        wish = {"upload_id": talk["id"], "source_language": "en", "target_languages": ["pt"]}
        third = (await carol.http.post("/api/v1/jobs/subtitle-generate/create", json=wish)).json()
        await carol.http.post(f"/api/v1/jobs/{second['id']}/cancel")
        everything = [third["id"], second["id"], first["id"]]
        assert await listed(carol) == everything
        assert await listed(carol, kind="subtitle-generate") == [third["id"]]
        assert await listed(carol, status="cancelled") == [second["id"]]
        assert await listed(carol, target_language="pt-BR") == [third["id"], first["id"]]
        assert await listed(carol, text="talk") == [third["id"], first["id"]]
        assert await listed(carol, text="%_") == [third["id"], first["id"]]
        assert await listed(carol, text="%%") == []
        assert await listed(carol, since=second["created_at"]) == [third["id"], second["id"]]
        assert await listed(carol, until=second["created_at"]) == [first["id"]]
        assert await listed(carol, text="talk", kind="video-translate", status="pending") == [first["id"]]
        assert await listed(carol, since="2999-01-01T00:00:00") == []


@pytest.mark.parametrize(
    "query", ["kind=dance", "status=lost", "since=yesterday", "since=0001-01-01T00:00:00Z", "text=", "text=a%00b"]
)
async def test_a_filter_that_makes_no_sense_is_refused(alice: Person, query: str) -> None:
    answer = await alice.http.get(f"/api/v1/jobs?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


async def test_a_failed_job_is_run_again(alice: Person, new_job: NewJob, worker: ScriptedWorker) -> None:
    job = await new_job(submit=True)
    await worker.take(job["id"])
    await worker.fail("engine_unavailable", "A model server died.")
    again = await alice.http.post(f"/api/v1/jobs/{job['id']}/retry")
    assert (again.status_code, again.json()["status"], again.json()["error"]) == (202, "pending", None)
    await worker.play(job["id"])
    done = (await alice.http.get(again.headers["Location"])).json()
    assert done["status"] == "completed"
    refused = await alice.http.post(f"/api/v1/jobs/{job['id']}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


async def test_a_new_run_is_followed_from_the_end_of_the_one_before(
    alice: Person, new_job: NewJob, worker: ScriptedWorker
) -> None:
    job = await new_job(submit=True)
    await worker.take(job["id"])
    await worker.fail("engine_unavailable", "A model server died.")
    seen = (await alice.http.get(f"/api/v1/jobs/{job['id']}")).json()["last_seq"]
    await alice.http.post(f"/api/v1/jobs/{job['id']}/retry")
    await worker.play(job["id"])
    events = await alice.http.get(f"/api/v1/jobs/{job['id']}/events", params={"after": seen})
    kinds = [line.removeprefix("event: ") for line in events.text.splitlines() if line.startswith("event: ")]
    assert (kinds[0], kinds[-1]) == ("submitted", "completed")


async def test_a_deleted_job_is_gone_with_its_results(
    alice: Person, new_job: NewJob, worker: ScriptedWorker, runtime: Runtime
) -> None:
    job = await new_job(submit=True)
    await worker.take(job["id"])
    running = await alice.http.delete(f"/api/v1/jobs/{job['id']}")
    assert (running.status_code, running.json()["detail"]) == (409, "This job is running; cancel it first.")
    await worker.complete()
    assert (await alice.http.delete(f"/api/v1/jobs/{job['id']}")).status_code == 204
    assert (await alice.http.get(f"/api/v1/jobs/{job['id']}")).status_code == 404
    assert (await alice.http.get(f"/api/v1/jobs/{job['id']}/download")).status_code == 404
    assert [one async for one in runtime.objects.list(f"jobs/{job['id']}")] == []
    assert (await alice.http.delete(f"/api/v1/jobs/{job['id']}")).status_code == 404


async def test_an_upload_goes_when_no_job_needs_it(alice: Person, runtime: Runtime) -> None:
    upload = await upload_video(alice, "mine.mp4")
    job = await create_job(alice, upload["id"])
    path = f"/api/v1/uploads/{upload['id']}"
    assert (await alice.http.delete(path)).status_code == 409
    await alice.http.delete(f"/api/v1/jobs/{job['id']}")
    assert (await alice.http.delete(path)).status_code == 204
    assert not await runtime.objects.exists(f"uploads/{upload['id']}")
    assert (await alice.http.delete(path)).status_code == 404
    wish = {"upload_id": upload["id"], "target_language": "pt"}
    assert (await alice.http.post("/api/v1/jobs/video-translate/create", json=wish)).status_code == 404


async def test_a_video_that_subtitles_are_spoken_over_is_needed_too(alice: Person) -> None:
    video = await upload_video(alice)
    cue = b"1\n00:00:00,000 --> 00:00:01,000\nOla\n"
    answer = await alice.http.post("/api/v1/upload?file_type=subtitle", files={"file": ("a.srt", cue)})
    wish = {
        "upload_id": answer.json()["id"],
        "target_language": "pt",
        "source_language": "pt",
        "video_upload_id": video["id"],
    }
    made = await alice.http.post("/api/v1/jobs/subtitle-to-audio/create", json=wish)
    assert made.status_code == 201, made.text
    assert (await alice.http.delete(f"/api/v1/uploads/{video['id']}")).status_code == 409


async def test_uploads_are_listed_page_by_page(address: str) -> None:
    async with person(address) as dave:
        cue = b"1\n00:00:00,000 --> 00:00:01,000\nHello\n"
        subtitles = await dave.http.post("/api/v1/upload?file_type=subtitle", files={"file": ("a.srt", cue)})
        video = await upload_video(dave)
        page = (await dave.http.get("/api/v1/uploads?limit=1")).json()
        assert page["uploads"] == [video]
        rest = (await dave.http.get(f"/api/v1/uploads?limit=1&before={page['next_before']}")).json()
        assert (rest["uploads"], rest["next_before"]) == ([subtitles.json()], None)


async def test_deleting_what_never_was_is_not_found(alice: Person) -> None:
    for path in (f"/api/v1/jobs/{uuid4()}", f"/api/v1/uploads/{uuid4()}"):
        assert (await alice.http.delete(path)).status_code == 404


async def test_jobs_are_found_by_their_tags_which_may_change(address: str) -> None:
    async with person(address) as carol:
        upload = await upload_video(carol)
        first = await create_job(carol, upload["id"], tags=["Kunde Müller", "draft", "draft"])
        second = await create_job(carol, upload["id"], tags=["draft"])
        assert first["options"]["tags"] == ["Kunde Müller", "draft"]
        assert await listed(carol, tag="draft") == [second["id"], first["id"]]
        assert await listed(carol, tag="Kunde Müller") == [first["id"]]
        url = f"/api/v1/jobs/{first['id']}"
        changed = await carol.http.patch(url, json={"tags": ["final"]})
        assert (changed.status_code, changed.json()["options"]["tags"]) == (200, ["final"])
        assert await listed(carol, tag="draft") == [second["id"]]
        assert await listed(carol, tag="final") == [first["id"]]
        assert (await carol.http.patch(url, json={"tags": []})).json()["options"]["tags"] == []
        for tags in (["x"] * 21, ["x" * 51], [" "], ["a\x00"], "draft"):
            assert (await carol.http.patch(url, json={"tags": tags})).status_code == 400, tags
        assert (await carol.http.get("/api/v1/jobs", params={"tag": "\x00"})).status_code == 400
