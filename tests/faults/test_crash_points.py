"""A process may die between any two commits: the job ends once, the money is right, and the audit finds nothing off.

Each test kills the api or the worker at one named place, starts it again, does what a client does then, and counts.
"""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from pydantic import SecretStr

from octavia_stream.accounts.removal import Removal
from octavia_stream.accounts.standing import Grant
from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.config import (
    BillingSettings,
    CacheSettings,
    MailSettings,
    OutboundSettings,
    RetentionSettings,
    Settings,
    WorkerSettings,
)
from octavia_stream.crash_points import CrashPoint
from octavia_stream.jobs.job import AudioDubbingOptions, Job
from octavia_stream.languages import Language
from octavia_stream.live.options import LiveOptions, LiveTarget
from octavia_stream.runtime import Runtime
from octavia_stream.sessions.recorder import Recorder
from octavia_stream.testing import tone
from tests.api.conftest import eventually
from tests.api.polar_server import TOKEN, PolarServer
from tests.faults import walks_of_calls, walks_of_edits, walks_of_messages, walks_of_uploads  # noqa: F401  (they join WALKS)
from tests.faults.lives import answering_life, api_life, worker_life
from tests.faults.neighbours import Hooked, Post, hooked, post_office
from tests.faults.server import FREE, GUARD_S, PACKAGE, PASSWORD, PRICES, SECRET, SUBTITLES, WALKS, Server, walk

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]


RECORDED = LiveOptions(targets=(LiveTarget(Language("pt")),), record=True)


@pytest.fixture(scope="module")
async def polar() -> AsyncIterator[tuple[PolarServer, str]]:
    """A shop and its address."""
    shop = PolarServer(SECRET)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(shop.app(), log_config=None, lifespan="off", ws="none"))
        serving = asyncio.create_task(server.serve([listening]))
        yield shop, f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await serving


@pytest.fixture(scope="module")
async def addresses() -> AsyncIterator[Hooked]:
    """Where webhooks go."""
    async with hooked() as made:
        yield made


@pytest.fixture(scope="module")
async def post() -> AsyncIterator[Post]:
    """Where letters go."""
    async with post_office() as made:
        yield made


@pytest.fixture(scope="module")
def settings(
    settings: Settings, polar: tuple[PolarServer, str], post: Post, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """A server that charges, sells and tells. Leases are long: the test says when one has ended."""
    prices: Path = tmp_path_factory.mktemp("prices") / "prices.toml"
    prices.write_text(PRICES)
    return settings.model_copy(
        update={
            "billing": BillingSettings(enabled=True, free_credits=FREE, pricing=prices, polar_url=polar[1]),
            "polar_token": SecretStr(TOKEN),
            "polar_webhook_secret": SecretStr("whsec_" + base64.b64encode(SECRET).decode()),
            "worker": WorkerSettings(lease_s=120.0, heartbeat_s=0.2, poll_s=0.05),
            "mail": MailSettings(host="127.0.0.1", port=post.port, security="none"),
            "outbound": OutboundSettings.model_validate({"allowed_networks": ["127.0.0.0/8"]}),
        }
    )


@pytest.fixture(scope="module")
async def server(
    settings: Settings, runtime: Runtime, polar: tuple[PolarServer, str], addresses: Hooked, post: Post
) -> AsyncIterator[Server]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        # A connection for each request: one that a dead api had opened says nothing about the next.
        alone = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=address, timeout=GUARD_S, limits=alone) as http:
            api, answering = api_life(settings, listening), answering_life(settings)
            made = Server(settings, runtime, polar[0], listening, api, answering, addresses, post, http)
            yield made
            await made.api.stopped()
            await made.answering.stopped()


@pytest.fixture(autouse=True)
async def person(server: Server) -> None:
    await server.sign_up()


@walk(CrashPoint.UPLOAD_STORED, CrashPoint.UPLOAD_RECORDED)
async def a_file_is_sent_again(server: Server, point: CrashPoint) -> None:
    await server.die(point, server.upload)
    upload = await server.uploaded()
    there = await server.runtime.uploads.list_uploads(server.person, 10)
    assert upload.id in {one.id for one in there}
    assert len(there) == (2 if point is CrashPoint.UPLOAD_RECORDED else 1)
    await server.nothing_is_off(orphans=point is CrashPoint.UPLOAD_STORED)


@walk(CrashPoint.RECORDING_JOINED)
async def a_recording_is_asked_for_again(server: Server, point: CrashPoint) -> None:
    live, _ = await server.runtime.live.create(server.person, RECORDED, Grant(server.person))
    recorder = Recorder(live.id, server.runtime.objects)
    recorder.push("ana", 0, tone(1.0, ASR_RATE_HZ).samples)
    recorder.finish()
    await recorder.run()
    await server.runtime.live.end_now(live.id, "closed")
    where = f"/api/v1/live/sessions/{live.id}/recording"
    await server.die(point, lambda: server.http.post(where))
    asked = [await server.http.post(where) for _ in range(2)]
    assert len({answer.json()["id"] for answer in asked}) == 1, asked[0].text
    # The upload that the dead made is the person's too.
    assert len(await server.runtime.uploads.list_uploads(server.person, 10)) == 2
    await server.nothing_is_off(orphans=1)


@walk(CrashPoint.UPLOAD_FORGOTTEN)
async def an_upload_is_deleted_once_more(server: Server, point: CrashPoint) -> None:
    upload = await server.uploaded(SUBTITLES)
    where = f"/api/v1/uploads/{upload.id}"
    await server.die(point, lambda: server.http.delete(where))
    assert (await server.http.delete(where)).status_code == 404
    await server.nothing_is_off(orphans=1)


@walk(CrashPoint.KEY_TAKEN, CrashPoint.KEY_UNANSWERED)
async def a_job_is_asked_for_again_under_its_key(server: Server, point: CrashPoint) -> None:
    upload, key = await server.uploaded(SUBTITLES), uuid4().hex
    await server.die(point, lambda: server.create_of(upload, key))
    assert (await server.create_of(upload, key)).status_code == 409, "it may be under way"
    await server.runtime.pool.execute("update idempotency_key set taken_at = now() - interval '1 hour'")
    first, second = await server.create_of(upload, key), await server.create_of(upload, key)
    assert first.status_code == second.status_code == 201
    (job,) = await server.runtime.jobs.list_jobs(server.person, 10)
    assert first.json()["id"] == second.json()["id"] == str(job.id)
    await server.nothing_is_off()


@walk(CrashPoint.CREDITS_RESERVED, CrashPoint.JOB_QUEUED)
async def a_job_is_started_again(server: Server, point: CrashPoint) -> None:
    where = await server.created()
    await server.die(point, lambda: server.http.post(f"{where}/process"))
    assert (await server.http.post(f"{where}/process")).status_code == 202
    job = await server.ended(UUID(where.rpartition("/")[2]))
    await server.money_is_right(job.id)
    await server.nothing_is_off()


@walk(CrashPoint.JOB_CANCELLED, CrashPoint.JOB_RETRIED)
async def a_job_is_cancelled_and_run_after_all(server: Server, point: CrashPoint) -> None:
    where = await server.created()
    assert (await server.http.post(f"{where}/process")).status_code == 202
    ways = {CrashPoint.JOB_CANCELLED: "cancel", CrashPoint.JOB_RETRIED: "retry"}
    for asked, way in ways.items():
        if asked is point:
            await server.die(point, lambda way=way: server.http.post(f"{where}/{way}"))  # type: ignore[misc]
            assert (await server.http.post(f"{where}/{way}")).status_code == 409, "it was done"
        else:
            assert (await server.http.post(f"{where}/{way}")).status_code == 202
    job = await server.ended(UUID(where.rpartition("/")[2]))
    await server.money_is_right(job.id)
    await server.nothing_is_off()


async def finished(server: Server) -> Job:
    """A job that was done."""
    where = await server.created()
    assert (await server.http.post(f"{where}/process")).status_code == 202
    return await server.ended(UUID(where.rpartition("/")[2]))


@walk(CrashPoint.JOB_FORGOTTEN)
async def a_job_is_deleted_once_more(server: Server, point: CrashPoint) -> None:
    job = await finished(server)
    made = len({one.key for one in job.artifacts} | await server.runtime.jobs.kept_keys(job.id))
    where = f"/api/v1/jobs/{job.id}"
    await server.die(point, lambda: server.http.delete(where))
    assert (await server.http.delete(where)).status_code == 404
    await server.nothing_is_off(orphans=made)


@walk(CrashPoint.EXPIRED_JOB_FORGOTTEN, CrashPoint.EXPIRED_UPLOAD_FORGOTTEN)
async def the_time_of_a_job_and_its_upload_is_over(server: Server, point: CrashPoint) -> None:
    job = await finished(server)
    made = len({one.key for one in job.artifacts} | await server.runtime.jobs.kept_keys(job.id))
    await server.runtime.pool.execute("update job set finished_at = now() - interval '2 days' where id = $1", job.id)
    await server.runtime.pool.execute(
        "update upload set created_at = now() - interval '2 days' where id = $1", job.upload_id
    )
    await server.die_at_start(crash_point=point, retention=RetentionSettings(results_days=1, uploads_days=1))
    assert await server.runtime.jobs.list_jobs(server.person, 10) == []
    await server.nothing_is_off(orphans=made if point is CrashPoint.EXPIRED_JOB_FORGOTTEN else 1)


@walk(CrashPoint.MESSAGE_KEPT, CrashPoint.ORDER_CREDITED, CrashPoint.ORDER_SETTLED)
async def a_payment_is_told_again(server: Server, point: CrashPoint) -> None:
    order = server.shop.sell(server.person, "product-1")

    async def tell() -> httpx.Response:
        body, headers = server.shop.about("order.paid", order, webhook_id=order)
        return await server.http.post("/api/v1/billing/webhook", content=body, headers=headers)

    # Settling begins once the message is kept: the answer may be faster than the death.
    await server.die(point, tell, answered=True)
    assert (await tell()).is_success
    await server.none_left("polar_event where settled_at is null")
    server.bought = PACKAGE
    await server.money_is_right()
    await server.nothing_is_off()


@walk(CrashPoint.OWNER_FORGOTTEN, CrashPoint.OBJECT_REMOVED)
async def somebody_leaves(server: Server, point: CrashPoint) -> None:
    upload = await server.uploaded(SUBTITLES)
    leave = {"method": "DELETE", "url": "/api/v1/auth/me", "json": {"password": PASSWORD}}
    await server.die(point, lambda: server.http.request(**leave))  # type: ignore[arg-type]
    # The next api removes what its predecessor did not get to, when it starts.
    await server.none_left("object_removal")
    assert upload.key not in [one.key async for one in server.runtime.objects.list("uploads")]
    await server.nothing_is_off()


@walk(
    CrashPoint.JOB_CLAIMED,
    CrashPoint.ATTEMPT_RECORDED,
    CrashPoint.CHECKPOINT_STORED,
    CrashPoint.CHECKPOINT_RECORDED,
    CrashPoint.EVENTS_RECORDED,
    CrashPoint.RESULT_STORED,
    CrashPoint.LEFTOVERS_REMOVED,
    CrashPoint.CREDITS_CAPTURED,
    CrashPoint.JOB_ENDED,
    CrashPoint.JOB_GIVEN_BACK,
)
async def another_worker_goes_on(server: Server, point: CrashPoint) -> None:
    upload = await server.uploaded()
    options = AudioDubbingOptions(target_language="pt", source_language="en")
    job = await server.runtime.jobs.create(server.person, "audio-translate", upload.id, options)
    await server.runtime.jobs.submit(job.id, server.person)
    giving_back = point is CrashPoint.JOB_GIVEN_BACK
    worker = worker_life(server.settings.model_copy(update={"crash_point": point}), pause_s=GUARD_S * giving_back)
    if giving_back:

        async def is_held() -> bool:
            return (await server.runtime.jobs.get(job.id, server.person)).status == "processing"

        await eventually(is_held, "a worker that holds the job")
        worker.terminate()
    await worker.killed()
    done = "select stage, idx, digest, attempts, finished_at from chunk where job_id = $1 and state = 'done'"
    before = {tuple(row) for row in await server.runtime.pool.fetch(done, job.id)}
    if not giving_back:
        await server.lease_over(job.id)
    ended = await server.ended(job.id)
    after = {tuple(row) for row in await server.runtime.pool.fetch(done, job.id)}
    assert before <= after, "what was finished was done again"
    assert ended.artifacts
    assert ended.percent == 100.0
    [dub] = (await server.runtime.jobs.quality(job.id, server.person)).dubs
    assert dub.segments, "how good it is was lost"
    await server.money_is_right(job.id)
    await server.nothing_is_off()


@walk(CrashPoint.CACHED_RESULT_STORED, CrashPoint.CACHED_RESULTS_FORGOTTEN)
async def what_was_kept_for_later_jobs_is_whole_or_gone(server: Server, point: CrashPoint) -> None:
    upload = await server.uploaded()
    options = AudioDubbingOptions(target_language="pt", source_language="en")
    job = await server.runtime.jobs.create(server.person, "audio-translate", upload.id, options)
    await server.runtime.jobs.submit(job.id, server.person)
    # What does not fit goes at once.
    room = CacheSettings(limit_bytes=1) if point is CrashPoint.CACHED_RESULTS_FORGOTTEN else CacheSettings()
    worker = worker_life(server.settings.model_copy(update={"crash_point": point, "cache": room}))
    await worker.killed()
    named = "select key from cached_result where key is not null"
    unnamed = set(await server.stored("cache")) - {row["key"] for row in await server.runtime.pool.fetch(named)}
    assert unnamed, "it died too early"
    await server.lease_over(job.id)
    await server.ended(job.id)
    await server.money_is_right(job.id)
    await server.nothing_is_off()
    await Removal(server.runtime.pool, server.runtime.jobs, server.runtime.objects).remove_objects()
    assert unnamed.isdisjoint(await server.stored("cache"))
    assert set(await server.stored("cache")) == {row["key"] for row in await server.runtime.pool.fetch(named)}


@pytest.mark.parametrize("point", CrashPoint)
async def test_a_death_between_two_commits_costs_nothing(server: Server, point: CrashPoint) -> None:
    await WALKS[point](server, point)
