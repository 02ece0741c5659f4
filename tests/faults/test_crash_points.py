"""A process may die between any two commits: the job ends once, the money is right, and the audit finds nothing off.

Each test kills the api or the worker at one named place, starts it again, does what a client does then, and counts.
"""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from pydantic import SecretStr

from octavia_stream.audit.invariants import audit, remove_orphans
from octavia_stream.config import BillingSettings, RetentionSettings, Settings, WorkerSettings
from octavia_stream.crash_points import CrashPoint
from octavia_stream.jobs.job import AudioDubbingOptions, Job
from octavia_stream.jobs.scratch import abandoned_scratch
from octavia_stream.runtime import Runtime
from octavia_stream.uploads.upload import Upload
from tests.api.conftest import eventually
from tests.api.polar_server import TOKEN, PolarServer
from tests.faults.lives import Life, api_life, worker_life

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

DATA = Path(__file__).parents[1] / "data"
SPEECH = DATA / "speech" / "en" / "jfk.flac"
SUBTITLES = b"1\n00:00:01,000 --> 00:00:02,000\nGood morning.\n"
PASSWORD = "correct horse battery"
FREE = 1000
PACKAGE = 600
PRICES = f"""
currency = "usd"
[credits_per_minute]
audio-translate = 10
subtitle-translate = 10
[[package]]
id = "starter"
name = "Starter"
credits = {PACKAGE}
price_cents = 900
polar_product_id = "product-1"
"""
SECRET = b"a secret of Polar, 32 bytes long"
PAST = timedelta(0)
ADVISORY_LOCKS = """
pg_locks join pg_database on pg_database.oid = database and datname = current_database() where locktype = 'advisory'
"""
GUARD_S = 60.0


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
def settings(settings: Settings, polar: tuple[PolarServer, str], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A server that charges and sells. Leases are long: the test says when one has ended."""
    prices: Path = tmp_path_factory.mktemp("prices") / "prices.toml"
    prices.write_text(PRICES)
    return settings.model_copy(
        update={
            "billing": BillingSettings(enabled=True, free_credits=FREE, pricing=prices, polar_url=polar[1]),
            "polar_token": SecretStr(TOKEN),
            "polar_webhook_secret": SecretStr("whsec_" + base64.b64encode(SECRET).decode()),
            "worker": WorkerSettings(lease_s=120.0, heartbeat_s=0.2, poll_s=0.05),
        }
    )


@dataclass
class Server:
    """What the walk needs: one api at a time, workers, a person, and a look behind."""

    settings: Settings
    runtime: Runtime
    shop: PolarServer
    listening: socket.socket
    api: Life
    http: httpx.AsyncClient
    person: UUID = field(default_factory=uuid4)
    bought: int = 0

    async def sign_up(self) -> None:
        """Somebody new."""
        wish = {"email": f"{uuid4().hex}@example.org", "password": PASSWORD}
        answer = await self.http.post("/api/v1/auth/sign-up", json=wish)
        assert answer.status_code == 201, answer.text
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        self.person = UUID(answer.json()["account"]["id"])
        self.bought = 0

    async def die(self, point: CrashPoint, ask: Callable[[], Awaitable[httpx.Response]]) -> None:
        """Ask something that the api dies of at this place; another api is there when this returns."""
        await self.api.arm(point)
        with pytest.raises(httpx.TransportError):
            pytest.fail(f"it answered {(await ask()).text}")
        await self.reborn()

    async def reborn(self) -> None:
        """Another api for one that has killed itself."""
        await self.api.killed()
        # Postgres lets go of what the dead held when it has noticed; a cleaner that comes sooner waits for an hour.
        await self.none_left(ADVISORY_LOCKS)
        self.api = api_life(self.settings, self.listening)

    async def die_at_start(self, **changes: Any) -> None:
        """Replace the api by one with other settings, which dies by itself; another is there when this returns."""
        await self.api.stopped()
        self.api = api_life(self.settings.model_copy(update=changes), self.listening)
        await self.reborn()

    async def upload(self) -> httpx.Response:
        return await self.http.post(
            "/api/v1/upload?file_type=audio", files={"file": ("talk.flac", SPEECH.read_bytes())}
        )

    async def uploaded(self, content: bytes | None = None) -> Upload:
        """A file to work on: subtitles, which take the least time, or speech."""
        if content is not None:
            answer = await self.http.post("/api/v1/upload?file_type=subtitle", files={"file": ("a.srt", content)})
        else:
            answer = await self.upload()
        assert answer.status_code == 201, answer.text
        return await self.runtime.uploads.get(UUID(answer.json()["id"]), self.person)

    async def create(self, key: str | None = None) -> httpx.Response:
        """A job on subtitles."""
        upload = await self.uploaded(SUBTITLES)
        return await self.create_of(upload, key)

    async def create_of(self, upload: Upload, key: str | None = None) -> httpx.Response:
        wish = {"upload_id": str(upload.id), "source_language": "en", "target_languages": ["pt"]}
        headers = {"Idempotency-Key": key} if key else {}
        return await self.http.post("/api/v1/jobs/subtitle-translate/create", json=wish, headers=headers)

    async def created(self) -> str:
        """The address of a job that waits to be started."""
        answer = await self.create()
        assert answer.status_code == 201, answer.text
        return str(answer.headers["location"])

    async def ended(self, job_id: UUID) -> Job:
        """The job when a worker has ended it, completed."""
        worker = worker_life(self.settings)

        async def is_over() -> bool:
            over = (await self.runtime.jobs.get(job_id, self.person)).finished_at is not None
            # What a dead worker left is removed by the next when it starts.
            return over and not abandoned_scratch(self.settings.home / "scratch")

        await eventually(is_over, "the end of the job")
        await worker.stopped()
        job = await self.runtime.jobs.get(job_id, self.person)
        assert job.status == "completed", job.error_message
        return job

    async def money_is_right(self, *jobs: UUID) -> None:
        """Each of these jobs of the person was charged once, everything else was let go."""
        charged = [await self.runtime.credits.statement(self.person, 50, types=["capture"], job_id=job) for job in jobs]
        assert [len(lines) for lines in charged] == [1] * len(jobs)
        now = await self.runtime.credits.balance(self.person)
        assert now.held == 0
        assert now.balance == FREE + self.bought + sum(lines[0].amount for lines in charged)

    async def none_left(self, rows: str) -> None:
        """Return when there are no such rows any more."""

        async def are_gone() -> bool:
            return not await self.runtime.pool.fetchval(f"select count(*) from {rows}")  # noqa: S608

        await eventually(are_gone, f"no {rows}")

    async def lease_over(self, job_id: UUID) -> None:
        """As if the time had passed, by the database's clock."""
        over = "update job set lease_until = now() - interval '1 ms' where id = $1 and lease_until is not null"
        await self.runtime.pool.execute(over, job_id)

    async def nothing_is_off(self, orphans: int = 0) -> None:
        """orphans: how many files the death has left that nothing names, and that the audit's repair removes."""
        assert (await remove_orphans(self.runtime.pool, self.runtime.objects, PAST))[0] == orphans
        found = await audit(self.runtime.pool, self.runtime.objects, self.settings.home, deadline_s=60.0, grace_s=0.0)
        assert found.clean, [breach for breach in found.breaches if breach.count]


@pytest.fixture(scope="module")
async def server(settings: Settings, runtime: Runtime, polar: tuple[PolarServer, str]) -> AsyncIterator[Server]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        # A connection for each request: one that a dead api had opened says nothing about the next.
        alone = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=address, timeout=GUARD_S, limits=alone) as http:
            api = api_life(settings, listening)
            made = Server(settings, runtime, polar[0], listening, api, http)
            yield made
            await made.api.stopped()


@pytest.fixture(autouse=True)
async def person(server: Server) -> None:
    await server.sign_up()


Walk = Callable[[Server, CrashPoint], Awaitable[None]]
WALKS: dict[CrashPoint, Walk] = {}


def walk(*points: CrashPoint) -> Callable[[Walk], Walk]:
    """This is what a client does about a death at these places."""

    def keep(what: Walk) -> Walk:
        WALKS.update(dict.fromkeys(points, what))
        return what

    return keep


@walk(CrashPoint.UPLOAD_STORED, CrashPoint.UPLOAD_RECORDED)
async def a_file_is_sent_again(server: Server, point: CrashPoint) -> None:
    await server.die(point, server.upload)
    upload = await server.uploaded()
    there = await server.runtime.uploads.list_uploads(server.person, 10)
    assert upload.id in {one.id for one in there}
    assert len(there) == (2 if point is CrashPoint.UPLOAD_RECORDED else 1)
    await server.nothing_is_off(orphans=point is CrashPoint.UPLOAD_STORED)


@walk(CrashPoint.PIECE_STORED, CrashPoint.PIECES_ASSEMBLED, CrashPoint.PIECES_RECORDED)
async def a_resumable_upload_goes_on(server: Server, point: CrashPoint) -> None:
    tus = {"Tus-Resumable": "1.0.0"}
    name = base64.b64encode(b"a.srt").decode()
    kind = base64.b64encode(b"subtitle").decode()
    metadata = {"Upload-Length": str(len(SUBTITLES)), "Upload-Metadata": f"filename {name},file_type {kind}"}
    opened = await server.http.post("/api/v1/tus", headers=tus | metadata)
    assert opened.status_code == 201, opened.text
    where = opened.headers["location"]

    async def send(offset: int = 0) -> httpx.Response:
        headers = tus | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        return await server.http.patch(where, headers=headers, content=SUBTITLES[offset:])

    await server.die(point, send)
    await server.runtime.pool.execute("update resumable_upload set finishing_until = now() - interval '1 ms'")
    progress = await server.http.head(where, headers=tus)
    assert progress.status_code == 200
    if (offset := int(progress.headers["upload-offset"])) < len(SUBTITLES):
        assert (await send(offset)).status_code == 204
    (upload,) = await server.runtime.uploads.list_uploads(server.person, 10)
    assert await server.runtime.objects.get(upload.key) == SUBTITLES
    if point is CrashPoint.PIECES_RECORDED:
        # The next api removes what its predecessor did not get to, when it starts.
        await server.none_left("object_removal")
    await server.nothing_is_off(orphans=point is CrashPoint.PIECES_ASSEMBLED)
    assert [one.key async for one in server.runtime.objects.list("tus")] == []


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
    made = len(job.artifacts) + len(await server.runtime.jobs.chunk_keys(job.id))
    where = f"/api/v1/jobs/{job.id}"
    await server.die(point, lambda: server.http.delete(where))
    assert (await server.http.delete(where)).status_code == 404
    await server.nothing_is_off(orphans=made)


@walk(CrashPoint.EXPIRED_JOB_FORGOTTEN, CrashPoint.EXPIRED_UPLOAD_FORGOTTEN)
async def the_time_of_a_job_and_its_upload_is_over(server: Server, point: CrashPoint) -> None:
    job = await finished(server)
    made = len(job.artifacts) + len(await server.runtime.jobs.chunk_keys(job.id))
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

    await server.api.arm(point)
    # Settling begins once the message is kept: the answer may be faster than the death.
    with suppress(httpx.TransportError):
        await tell()
    await server.reborn()
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
    await server.money_is_right(job.id)
    await server.nothing_is_off()


@pytest.mark.parametrize("point", CrashPoint)
async def test_a_death_between_two_commits_costs_nothing(server: Server, point: CrashPoint) -> None:
    await WALKS[point](server, point)
