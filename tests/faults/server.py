"""A server that a walk kills and starts again, the neighbours that it talks to, and the list of all walks."""

import base64
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from octavia_stream.audit.invariants import audit, remove_orphans
from octavia_stream.config import Settings
from octavia_stream.crash_points import CrashPoint
from octavia_stream.instant.tidying import PREFIX
from octavia_stream.jobs.job import Job
from octavia_stream.jobs.scratch import abandoned_scratch
from octavia_stream.runtime import Runtime
from octavia_stream.uploads.upload import Upload
from tests.api.conftest import eventually
from tests.api.polar_server import PolarServer
from tests.faults.lives import Life, api_life, worker_life
from tests.faults.neighbours import Hooked, Post

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
subtitle-generate = 10
subtitle-translate = 10
live = 0
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
TUS = {"Tus-Resumable": "1.0.0"}
Meanwhile = Callable[[], Awaitable[object]]


@dataclass
class Server:
    """What the walk needs: one api at a time, workers, a person, and a look behind."""

    settings: Settings
    runtime: Runtime
    shop: PolarServer
    listening: socket.socket
    api: Life
    answering: Life
    hooked: Hooked
    post: Post
    http: httpx.AsyncClient
    person: UUID = field(default_factory=uuid4)
    email: str = ""
    bought: int = 0

    async def sign_up(self) -> None:
        """Somebody new."""
        self.email = f"{uuid4().hex}@example.org"
        wish = {"email": self.email, "password": PASSWORD}
        answer = await self.http.post("/api/v1/auth/sign-up", json=wish)
        assert answer.status_code == 201, answer.text
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        self.person = UUID(answer.json()["account"]["id"])
        self.bought = 0

    async def die(
        self,
        point: CrashPoint,
        ask: Callable[[], Awaitable[httpx.Response]],
        *,
        answered: bool = False,
        meanwhile: Meanwhile | None = None,
    ) -> None:
        """Ask something that the api dies of at this place; another api is there when this returns.

        answered: it dies of what follows, so the answer may be faster. meanwhile: happens while no api lives.
        """
        await self.api.arm(point)
        with suppress(httpx.TransportError) if answered else pytest.raises(httpx.TransportError):
            answer = await ask()
            assert answered, f"it answered {answer.text}"
        await self.reborn(meanwhile)

    async def reborn(self, meanwhile: Meanwhile | None = None) -> None:
        """Another api for one that has killed itself."""
        await self.api.killed()
        # Postgres lets go of what the dead held when it has noticed; a cleaner that comes sooner waits for an hour.
        await self.none_left(ADVISORY_LOCKS)
        if meanwhile is not None:
            await meanwhile()
        self.api = api_life(self.settings, self.listening)

    async def die_at_start(self, meanwhile: Meanwhile | None = None, **changes: Any) -> None:
        """Replace the api by one with other settings, which dies by itself; another is there when this returns."""
        await self.api.stopped()
        self.api = api_life(self.settings.model_copy(update=changes), self.listening)
        await self.reborn(meanwhile)

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

    async def open_pieces(self, length: int = len(SUBTITLES)) -> httpx.Response:
        """A resumable upload of subtitles."""
        name = base64.b64encode(b"a.srt").decode()
        kind = base64.b64encode(b"subtitle").decode()
        metadata = {"Upload-Length": str(length), "Upload-Metadata": f"filename {name},file_type {kind}"}
        return await self.http.post("/api/v1/tus", headers=TUS | metadata)

    async def opened_pieces(self, length: int = len(SUBTITLES)) -> str:
        """Where its pieces go."""
        answer = await self.open_pieces(length)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["location"])

    async def send_piece(self, where: str, content: bytes = SUBTITLES, offset: int = 0) -> httpx.Response:
        """What is left of `content` from `offset` on."""
        headers = TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        return await self.http.patch(where, headers=headers, content=content[offset:])

    async def transcribe(self) -> httpx.Response:
        """A recording, to be written down at once."""
        recording = {"file": ("talk.flac", SPEECH.read_bytes())}
        wish = {"model": "whisper-1", "language": "en"}
        return await self.http.post("/v1/audio/transcriptions", data=wish, files=recording)

    async def calls_are_over(self) -> None:
        """As if the longest time of a call had passed."""
        pool, objects = self.runtime.pool, self.runtime.objects
        async with pool.transaction() as connection:
            # Nobody may change how long a hold lasts.
            await connection.execute("alter table credit_hold disable trigger user")
            await connection.execute("update credit_hold set expires_at = now() where state = 'open'")
            await connection.execute("alter table credit_hold enable trigger user")
        await pool.execute("update sound_use set taken_at = taken_at - interval '1 day' where settled_at is null")
        async for recording in objects.list(PREFIX):
            path = objects.local_path(recording.key)
            assert path is not None
            os.utime(path, (0, 0))

    async def stored(self, prefix: str) -> list[str]:
        """What lies below a prefix in the store."""
        return [one.key async for one in self.runtime.objects.list(prefix)]

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

    async def calls_were_charged(self, times: int) -> None:
        """So many calls of the person were charged, and everything else was let go."""
        lines = await self.runtime.credits.statement(self.person, 50, types=["capture"])
        assert len(lines) == times
        now = await self.runtime.credits.balance(self.person)
        assert now.held == 0
        assert now.balance == FREE + sum(line.amount for line in lines)

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
        # Other writes may have been under way in the moment of the death; the sweep removes their parts when it comes.
        await self.runtime.objects.remove_leftover_parts(datetime.now(UTC))
        found = await audit(self.runtime.pool, self.runtime.objects, self.settings.home, deadline_s=60.0, grace_s=0.0)
        assert found.clean, [breach for breach in found.breaches if breach.count]


Walk = Callable[[Server, CrashPoint], Awaitable[None]]
WALKS: dict[CrashPoint, Walk] = {}


def walk(*points: CrashPoint) -> Callable[[Walk], Walk]:
    """This is what a client does about a death at these places."""

    def keep(what: Walk) -> Walk:
        WALKS.update(dict.fromkeys(points, what))
        return what

    return keep
