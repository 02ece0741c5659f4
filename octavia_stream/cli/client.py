"""What the command line says to a server: REST for what is asked, a WebSocket for what happens."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from octavia_stream.errors import DependencyUnavailable, OctaviaError, StorageFull
from octavia_stream.events.event import TERMINAL_EVENTS, JobEventRecord
from octavia_stream.jobs.job import JobKind

UPLOAD_BLOCK_BYTES = 1024 * 1024
RECONNECT_DEADLINE_S = 120.0
"""How long a server may be away before the command gives up; a restart of everything takes less."""

LIVE_PATIENCE_S = 30.0
"""How long a live session may wait for room."""

REFUSED = range(4400, 4500)
"""Close codes of a WebSocket that trying again does not change; the reference of the HTTP API lists them."""
UNAUTHENTICATED = 4401


class ServerRefused(OctaviaError):
    """The server refused the request."""

    code = "refused"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account of a server; kept for the server that this machine runs."""

    email: str
    password: str


def local_credentials(home: Path) -> Credentials:
    """The command line's own account on this machine's server, made at first use and readable by its owner only."""
    path = home / "cli-account.json"
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    made = Credentials(f"cli-{secrets.token_hex(4)}@localhost.localdomain", secrets.token_urlsafe(24))
    home.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(made))
    return made


class Client:
    """One account's view of one server. Use as an async context manager."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._http = httpx.AsyncClient(base_url=self._url, timeout=httpx.Timeout(30.0, read=120.0, write=120.0))
        self._token = ""
        self._credentials: Credentials | None = None

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def log_in(self, credentials: Credentials, *, sign_up: bool = False) -> None:
        """sign_up: make the account when it does not exist yet."""
        body = {"email": credentials.email, "password": credentials.password}
        answer = await self._send("POST", "/api/v1/auth/log-in", json=body)
        if answer.status_code == httpx.codes.UNAUTHORIZED and sign_up:
            _checked(await self._send("POST", "/api/v1/auth/sign-up", json=body))
            answer = await self._send("POST", "/api/v1/auth/log-in", json=body)
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise DependencyUnavailable("The server cannot check passwords just now; try again in a few seconds.")
        self._token = _checked(answer)["access_token"]
        self._credentials = credentials
        self._http.headers["Authorization"] = f"Bearer {self._token}"

    async def _log_in_again(self) -> bool:
        """Tokens live shorter than jobs. False when there is nothing to log in with."""
        if self._credentials is None:
            return False
        credentials, self._credentials = self._credentials, None  # a refusal meanwhile is final
        self._http.headers.pop("Authorization", None)
        try:
            await self.log_in(credentials)
        finally:
            self._credentials = credentials
        return True

    async def _denied(self, code: int, denied: int) -> int:
        """Answer a closed socket: log in again, once. Returns how often that was needed. Raises ServerRefused."""
        if code not in REFUSED:
            return denied
        if code == UNAUTHENTICATED and not denied:
            try:
                if await self._log_in_again():
                    return 1
            except DependencyUnavailable:
                return 0
        raise ServerRefused("The server does not let this account follow the job.")

    async def upload(self, path: Path, sent: Callable[[int], None], file_type: str = "audio") -> str:
        """Stream a file; `sent` is told the bytes of each block. Returns the upload's id."""

        size = (await asyncio.to_thread(path.stat)).st_size

        async def blocks() -> AsyncIterator[bytes]:
            with path.open("rb") as file:
                while block := await asyncio.to_thread(file.read, UPLOAD_BLOCK_BYTES):
                    yield block
                    sent(len(block))

        answer = await self._send(
            "POST",
            "/api/v1/upload",
            params={"file_type": file_type, "filename": path.name},
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
            content=blocks,
        )
        return str(_checked(answer)["id"])

    async def create_job(self, options: dict[str, Any], kind: JobKind = "video-translate") -> str:
        """Create a job and start it. Returns its id."""
        job = _checked(await self._send("POST", f"/api/v1/jobs/{kind}/create", json=options))
        job_id = str(job["id"])
        _checked(await self._send("POST", f"/api/v1/jobs/{job_id}/process"))
        return job_id

    async def job(self, job_id: str) -> dict[str, Any]:
        return _checked(await self._send("GET", f"/api/v1/jobs/{job_id}"))

    def stream_url(self, job_id: str) -> str:
        """Where a job with `stream` can be watched; players must send the account's token."""
        return f"{self._url}/api/v1/jobs/{job_id}/stream/index.m3u8"

    async def cancel(self, job_id: str) -> None:
        """Ask for the job to stop; a job that has ended already stays as it is."""
        answer = await self._send("POST", f"/api/v1/jobs/{job_id}/cancel")
        if answer.status_code != httpx.codes.CONFLICT:
            _checked(answer)

    async def open_live(self, options: dict[str, Any], patience_s: float = LIVE_PATIENCE_S) -> dict[str, Any]:
        """Create a live session; gives its addresses and its token.

        patience_s: how long to ask again while no node has room, as just after a start.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + patience_s
        while True:
            answer = await self._send("POST", "/api/v1/live/sessions", json=options)
            pause = float(answer.headers.get("Retry-After", "2"))
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or clock() + pause > until:
                return _checked(answer)
            await asyncio.sleep(pause)

    async def close_live(self, session_id: str) -> None:
        """End a live session; one that has ended already stays as it is."""
        answer = await self._send("DELETE", f"/api/v1/live/sessions/{session_id}")
        if answer.status_code not in (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT, httpx.codes.NO_CONTENT):
            _checked(answer)

    async def recording(self, session_id: str) -> dict[str, Any]:
        """The recording of a live session as an upload, as soon as the session has ended."""
        clock = asyncio.get_running_loop().time
        until = clock() + LIVE_PATIENCE_S
        while True:
            answer = await self._send("POST", f"/api/v1/live/sessions/{session_id}/recording")
            if answer.status_code != httpx.codes.CONFLICT or clock() > until:
                return _checked(answer)
            await asyncio.sleep(0.5)

    async def events(self, job_id: str) -> AsyncIterator[JobEventRecord]:
        """Every event from the first to the terminal one, each once, through lost connections and restarts."""
        seen = 0
        url = self._url.replace("http", "ws", 1) + f"/api/v1/jobs/{job_id}/events"
        lost_at: float | None = None
        denied = 0
        while True:
            try:
                async with connect(
                    f"{url}?after={seen}", additional_headers={"Authorization": f"Bearer {self._token}"}
                ) as socket:
                    lost_at = None
                    async for message in socket:
                        denied = 0
                        record = msgspec.json.decode(message, type=JobEventRecord)
                        seen = record.seq
                        yield record
                        if isinstance(record.event, TERMINAL_EVENTS):
                            return
            except InvalidStatus as error:
                if error.response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    raise ServerRefused(f"The server refused the connection ({error.response.status_code}).") from error
            except ConnectionClosed as closed:
                denied = await self._denied(closed.rcvd.code if closed.rcvd is not None else 0, denied)
            except (OSError, TimeoutError):
                pass
            now = asyncio.get_running_loop().time()
            lost_at = lost_at if lost_at is not None else now
            if now - lost_at > RECONNECT_DEADLINE_S:
                raise DependencyUnavailable("The server has been away for two minutes; the job itself goes on there.")
            await asyncio.sleep(0.5)

    async def download(self, job_id: str, artifact: str, path: Path) -> None:
        """Fetch one artifact; the file appears under its name only when it is whole."""
        partial = path.with_name(path.name + ".part")
        try:
            # Asked first with a request that can be asked again, should the token have expired meanwhile.
            await self.job(job_id)
            async with self._http.stream(
                "GET", f"/api/v1/jobs/{job_id}/download", params={"artifact": artifact}
            ) as answer:
                if answer.is_error:
                    await answer.aread()
                    _checked(answer)
                with partial.open("wb") as file:
                    async for block in answer.aiter_bytes(UPLOAD_BLOCK_BYTES):
                        file.write(block)
            partial.replace(path)
        except httpx.TransportError as error:
            raise DependencyUnavailable("The connection to the server was lost during the download.") from error
        except OSError as error:
            raise StorageFull(f"{path.name} cannot be written here: {error.strerror}.") from error
        finally:
            partial.unlink(missing_ok=True)

    async def _send(
        self, method: str, path: str, content: Callable[[], AsyncIterator[bytes]] | None = None, **request: Any
    ) -> httpx.Response:
        """content: makes the body, once for each time it is sent."""
        try:
            answer = await self._http.request(method, path, content=content and content(), **request)
            if answer.status_code == httpx.codes.UNAUTHORIZED and await self._log_in_again():
                answer = await self._http.request(method, path, content=content and content(), **request)
            return answer
        except httpx.TransportError as error:
            raise DependencyUnavailable(f"The server at {self._url} does not answer.") from error


def _checked(answer: httpx.Response) -> dict[str, Any]:
    """The body of a good answer. Raises ServerRefused with the sentence of a problem document."""
    try:
        body = answer.json()
    except ValueError:
        body = {}
    if answer.is_error:
        raise ServerRefused(str(body.get("detail") or f"The server answered {answer.status_code}."))
    return dict(body)
