"""What customers ask for while things go wrong, and how patient they are."""

import asyncio
import hashlib
import io
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import av
import httpx

DATA = Path(__file__).parents[1] / "data"
PASSWORD = "a long enough password"
GUARD_S = 400.0
"""How long a customer waits before giving up: ten times what a quiet machine takes, for a busy one."""
PAUSE_S = 0.4
RETRIED = frozenset({"storage_full"})
"""Failures that are nobody's defect: whoever has made room runs the job again."""


class UnexpectedAnswer(Exception):
    """Asking again would not help."""


@dataclass(frozen=True, slots=True)
class Work:
    """One job that somebody wants done."""

    name: str
    owner: int
    kind: str
    source: Path
    file_type: str
    options: dict[str, Any]


PORTUGUESE = {"source_language": "en", "target_language": "pt"}
TALK = DATA / "speech" / "en" / "lj_printing_4min.flac"
SUBTITLES = DATA / "subtitles" / "sintel_en.srt"
WORKS = (
    Work("talk", 0, "audio-translate", TALK, "audio", PORTUGUESE | {"stream": True}),
    Work("film", 1, "video-translate", DATA / "video" / "muxed_en.mkv", "video", PORTUGUESE | {"stream": True}),
    Work("short talk", 1, "audio-translate", DATA / "speech" / "en" / "jfk.flac", "audio", PORTUGUESE),
    Work("captions", 2, "subtitle-generate", TALK, "audio", {"source_language": "en", "target_languages": ["pt"]}),
    Work(
        "subtitles",
        2,
        "subtitle-translate",
        SUBTITLES,
        "subtitle",
        {"source_language": "en", "target_languages": ["pt"]},
    ),
    Work("reading", 0, "subtitle-to-audio", SUBTITLES, "subtitle", PORTUGUESE),
)


def fingerprint(name: str, content: bytes) -> str:
    """SHA-256 of a file; of a Matroska file, which has a random number of its own, of every packet in it."""
    if not name.endswith((".mkv", ".webm")):
        return hashlib.sha256(content).hexdigest()
    hasher = hashlib.sha256()
    with av.open(io.BytesIO(content), "r") as container:
        for packet in container.demux():
            hasher.update(f"{packet.stream.index} {packet.pts} {packet.dts} {packet.duration} ".encode())
            hasher.update(bytes(packet))
    return hasher.hexdigest()


@dataclass(slots=True)
class Done:
    """A job that has ended."""

    work: Work
    job_id: UUID
    job: dict[str, Any]
    runs: int
    """How often it was started."""


@dataclass(slots=True)
class Customer:
    """One account, which asks again until it is answered."""

    http: httpx.AsyncClient
    email: str = field(default_factory=lambda: f"{uuid4().hex}@example.org")
    broken: list[str] = field(default_factory=list)
    """Answers that no server should give, whatever happens to it."""
    _token: str = ""

    async def see_through(self, work: Work) -> Done:
        """Upload, create, start, and wait for the end. Raises TimeoutError when nothing helps."""
        upload = await self._uploaded(work)
        created = await self._created(work, upload)
        where = f"/api/v1/jobs/{created}"
        runs = 1
        await self._started(f"{where}/process", where)
        while True:
            job = await self._ended(where)
            code = (job.get("error") or {}).get("code")
            if job["status"] != "failed" or code not in RETRIED:
                return Done(work, UUID(created), job, runs)
            await self._started(f"{where}/retry", where)
            runs += 1

    async def fingerprints(self, done: Done) -> dict[str, str]:
        """What every result holds, by name, as it is downloaded. A file that is not what the job says has none."""
        found = {}
        for artifact in done.job["artifacts"]:
            name = artifact["name"]
            where = f"/api/v1/jobs/{done.job_id}/download"
            answer = await self._ask("GET", where, params={"artifact": name}, good={200})
            whole = hashlib.sha256(answer.content).hexdigest() == artifact["sha256"]
            found[name] = await asyncio.to_thread(fingerprint, name, answer.content) if whole else "damaged"
        return found

    async def forget(self, done: Done) -> None:
        """Delete a job and its upload."""
        await self._ask("DELETE", f"/api/v1/jobs/{done.job_id}", good={204, 404})
        await self._ask("DELETE", f"/api/v1/uploads/{done.job['upload_id']}", good={204, 404})

    async def _uploaded(self, work: Work) -> str:
        wanted = {"file_type": work.file_type, "filename": work.source.name}
        content = await asyncio.to_thread(work.source.read_bytes)
        kind = {"Content-Type": "application/octet-stream"}
        answer = await self._ask("POST", "/api/v1/upload", params=wanted, headers=kind, content=content, good={201})
        return str(answer.json()["id"])

    async def _created(self, work: Work, upload: str) -> str:
        path, wish = f"/api/v1/jobs/{work.kind}/create", {"upload_id": upload, **work.options}
        while True:
            # A key whose answer was lost is answered with 409 until that request is certainly over: take a new one.
            key = {"Idempotency-Key": uuid4().hex}
            answer = await self._ask("POST", path, json=wish, headers=key, good={201, 409})
            if answer.status_code == httpx.codes.CREATED:
                return str(answer.json()["id"])

    async def _started(self, path: str, where: str) -> None:
        """202, or 409 when the answer to an earlier request was lost and the job is on its way."""
        answer = await self._ask("POST", path, good={202, 409})
        if answer.status_code == httpx.codes.CONFLICT:
            job = (await self._ask("GET", where, good={200})).json()
            if job["submitted_at"] is None:
                self.broken.append(f"{path} was refused, and the job waits: {answer.text}")

    async def _ended(self, where: str) -> dict[str, Any]:
        give_up_at = time.monotonic() + GUARD_S
        while True:
            job: dict[str, Any] = (await self._ask("GET", where, good={200})).json()
            if job["status"] in {"completed", "failed", "cancelled"}:
                return job
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"{where} has not ended: {job['status']}, {job.get('phase')}")
            await asyncio.sleep(PAUSE_S)

    async def _ask(
        self, method: str, path: str, *, good: set[int], headers: dict[str, str] | None = None, **request: Any
    ) -> httpx.Response:
        """The first of the good answers; a server that is away, busy or full is asked again."""
        give_up_at = time.monotonic() + GUARD_S
        last = "no answer"
        while time.monotonic() < give_up_at:
            try:
                bearer = {"Authorization": f"Bearer {self._token}"} if self._token else {}
                answer = await self.http.request(method, path, headers=bearer | (headers or {}), **request)
            except httpx.TransportError as error:
                last = repr(error)
            else:
                if answer.status_code in good:
                    return answer
                last = f"{answer.status_code} {answer.text}"
                await self._consider(answer, f"{method} {path}")
            await asyncio.sleep(PAUSE_S)
        raise TimeoutError(f"{method} {path}: {last}")

    async def _consider(self, answer: httpx.Response, what: str) -> None:
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            await self._log_in()
        elif answer.status_code < httpx.codes.TOO_MANY_REQUESTS:
            raise UnexpectedAnswer(f"{what}: {answer.status_code} {answer.text}")
        elif answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
            self.broken.append(f"{what.partition(' /')[0]} …: {answer.status_code} {answer.json().get('instance')}")

    async def _log_in(self) -> None:
        wish = {"email": self.email, "password": PASSWORD}
        for way in ("log-in", "sign-up"):
            try:
                answer = await self.http.post(f"/api/v1/auth/{way}", json=wish)
            except httpx.TransportError:
                return
            if answer.is_success:
                self._token = answer.json()["access_token"]
                return
