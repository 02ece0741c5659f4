"""A request that is sent twice under one key is done once."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from octavia_stream.runtime import Runtime
from tests.api.conftest import Person, person, upload_video

pytestmark = pytest.mark.services

CREATE = "/api/v1/jobs/video-translate/create"


def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex}


async def jobs_of(somebody: Person) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = (await somebody.http.get("/api/v1/jobs?limit=100")).json()["jobs"]
    return jobs


async def test_fifty_creates_at_once_make_one_job(address: str) -> None:
    async with person(address) as carol:
        upload = await upload_video(carol)
        wish, headers = {"upload_id": upload["id"], "target_language": "pt"}, key()

        async def create() -> httpx.Response:
            return await carol.http.post(CREATE, json=wish, headers=headers)

        answers = await asyncio.gather(*(create() for _ in range(50)))
        assert {answer.status_code for answer in answers} <= {201, 409}
        made = {answer.json()["id"] for answer in answers if answer.status_code == 201}
        assert len(made) == 1
        assert [job["id"] for job in await jobs_of(carol)] == list(made)
        again = await create()
        assert (again.status_code, again.json()["id"]) == (201, made.pop())
        assert again.headers["Location"] == again.json()["links"]["self"]


async def test_another_request_under_the_same_key_is_refused(alice: Person, bob: Person) -> None:
    upload, headers = await upload_video(alice), key()
    wish = {"upload_id": upload["id"], "target_language": "pt"}
    made = await alice.http.post(CREATE, json=wish, headers=headers)
    assert made.status_code == 201
    other = await alice.http.post(CREATE, json={**wish, "keep_original_track": False}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    process = await alice.http.post(f"/api/v1/jobs/{made.json()['id']}/process", headers=headers)
    assert process.status_code == 422
    theirs = await upload_video(bob)
    another = await bob.http.post(CREATE, json={**wish, "upload_id": theirs["id"]}, headers=headers)
    assert another.status_code == 201, "a key is its sender's own"


async def test_a_refused_request_may_be_sent_again(alice: Person) -> None:
    upload, headers = await upload_video(alice), key()
    wish = {"upload_id": upload["id"], "target_language": "zu"}
    assert (await alice.http.post(CREATE, json=wish, headers=headers)).status_code == 422
    assert (await alice.http.post(CREATE, json={**wish, "target_language": "pt"}, headers=headers)).status_code == 201


async def test_starting_twice_under_a_key_is_answered_as_the_first_time(alice: Person, runtime: Runtime) -> None:
    upload, headers = await upload_video(alice), key()
    job = (await alice.http.post(CREATE, json={"upload_id": upload["id"], "target_language": "pt"})).json()
    first = await alice.http.post(f"/api/v1/jobs/{job['id']}/process", headers=headers)
    await alice.http.post(f"/api/v1/jobs/{job['id']}/cancel")
    second = await alice.http.post(f"/api/v1/jobs/{job['id']}/process", headers=headers)
    assert (second.status_code, second.json()) == (202, first.json())


async def test_what_a_dead_process_began_is_finished_once_under_the_same_id(alice: Person, runtime: Runtime) -> None:
    upload, headers = await upload_video(alice), key()
    wish = {"upload_id": upload["id"], "target_language": "pt"}
    made = (await alice.http.post(CREATE, json=wish, headers=headers)).json()
    # As if it had died after the job was made and before it was answered.
    under = (alice.id, headers["Idempotency-Key"])
    await runtime.pool.execute("update idempotency_key set response = null where owner_id = $1 and key = $2", *under)
    assert (await alice.http.post(CREATE, json=wish, headers=headers)).status_code == 409, "it may still be alive"
    await runtime.pool.execute(
        "update idempotency_key set taken_at = now() - interval '2 minutes' where owner_id = $1 and key = $2", *under
    )
    again = await alice.http.post(CREATE, json=wish, headers=headers)
    assert (again.status_code, again.json()["id"]) == (201, made["id"])


async def test_a_key_is_forgotten_after_a_day(alice: Person, runtime: Runtime) -> None:
    upload, headers = await upload_video(alice), key()
    wish = {"upload_id": upload["id"], "target_language": "pt"}
    made = (await alice.http.post(CREATE, json=wish, headers=headers)).json()
    await runtime.pool.execute(
        "update idempotency_key set created_at = now() - interval '25 hours' where owner_id = $1 and key = $2",
        alice.id,
        headers["Idempotency-Key"],
    )
    again = await alice.http.post(CREATE, json=wish, headers=headers)
    assert again.status_code == 201
    assert again.json()["id"] != made["id"]
