"""A file dubbed through the real server, as `octavia dub` does it, and what that took."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.processes import Observer, Role, Usage
from benchmarks.watching import Watcher
from octavia_stream.cli.client import Client, local_credentials
from octavia_stream.config import Settings
from octavia_stream.errors import EngineUnavailable
from octavia_stream.events.event import Completed, Failed, JobEventRecord, SegmentDubbed, Started
from octavia_stream.launcher.stack import Stack

TARGET = "pt"
JOB_DEADLINE_S = 1200.0
DEADLINE_PER_S = 2.0
"""Seconds that a longer job may take for each of its sound."""
DUB, REPORT = "dub", "report.json"


@dataclass(frozen=True, slots=True)
class ServedDub:
    """One finished job."""

    wall_s: float
    """From the first uploaded byte to the event that it is complete."""
    uploaded_s: float
    """To the end of the upload."""
    first_segment_s: float
    """To the first sentence that is spoken."""
    playable_s: float
    """From the end of the upload to a segment of the stream with dubbed sound in the client's hands; not a number
    where no stream was asked for."""
    worked_s: float
    """From start to end by the server's clock."""
    segments: list[SegmentDubbed]
    dub: Path
    inside_share: float
    usage: Usage


class Server:
    """A running stack, and one account on it."""

    def __init__(self, client: Client, watcher: Watcher, stack: Stack) -> None:
        self._client = client
        self._watcher = watcher
        self._stack = stack

    def role(self, pid: int, command: str) -> str:
        """What a process of ours is for."""
        if pid == self._stack.pids().get("api"):
            return "api"
        for replica in ("JobWorker", "Asr", "Mt", "Tts"):
            if f"ServeReplica:octavia:{replica}" in command:
                return f"{replica} replica"
        return "jailed media child" if "octavia_stream.media.child" in command else "other"

    async def dub(
        self,
        path: Path,
        directory: Path,
        role: Role | None = None,
        *,
        target: str = TARGET,
        stream: bool = False,
        duration_s: float = 0.0,
    ) -> ServedDub:
        """Upload, dub, download into `directory`. Raises EngineUnavailable, TimeoutError.

        stream: also watch what is made while the rest is. duration_s: of the sound, where it is long.
        """
        records: list[JobEventRecord] = []
        first_segment_s = float("nan")
        options = {"target_language": target} | ({"stream": True} if stream else {})
        with Observer(role) as observer:
            async with asyncio.timeout(max(JOB_DEADLINE_S, DEADLINE_PER_S * duration_s)):
                started_at = time.monotonic()
                upload_id = await self._client.upload(path, lambda _: None)
                uploaded_s = time.monotonic() - started_at
                job_id = await self._client.create_job({"upload_id": upload_id, **options})
                async with self._watcher.watching(job_id if stream else None) as playable:
                    async for record in self._client.events(job_id):
                        if isinstance(record.event, SegmentDubbed) and not _segments(records):
                            first_segment_s = time.monotonic() - started_at
                        records.append(record)
                    wall_s = time.monotonic() - started_at
                    _check(records)
                    playable_s = await playable - started_at - uploaded_s
        dub, inside_share = await self._fetch(job_id, directory)
        return ServedDub(
            wall_s,
            uploaded_s,
            first_segment_s,
            playable_s,
            _worked_s(records),
            _segments(records),
            dub,
            inside_share,
            observer.usage,
        )

    async def _fetch(self, job_id: str, directory: Path) -> tuple[Path, float]:
        job = await self._client.job(job_id)
        names = [str(artifact["name"]) for artifact in job["artifacts"]]
        dub = next(name for name in names if name.startswith(f"{DUB}."))
        for name in (dub, REPORT):
            await self._client.download(job_id, name, directory / name)
        report = msgspec.json.decode((directory / REPORT).read_bytes())
        return directory / dub, float(report["fit"]["inside_share"])


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Server]:
    """A whole stack on `settings.home`, taken down at the end."""
    stack = Stack(settings)
    try:
        url = await stack.start()
        credentials = local_credentials(settings.home)
        async with Client(url) as client, Watcher(url, credentials) as watcher:
            await client.log_in(credentials, sign_up=True)
            yield Server(client, watcher, stack)
    finally:
        await stack.stop()


def _segments(records: list[JobEventRecord]) -> list[SegmentDubbed]:
    return [record.event for record in records if isinstance(record.event, SegmentDubbed)]


def _worked_s(records: list[JobEventRecord]) -> float:
    [start] = [record.at for record in records if isinstance(record.event, Started)]
    [end] = [record.at for record in records if isinstance(record.event, Completed)]
    return (end - start).total_seconds()


def _check(records: list[JobEventRecord]) -> None:
    last = records[-1].event if records else None
    if not isinstance(last, Completed):
        reason = last.message if isinstance(last, Failed) else "it was cancelled"
        raise EngineUnavailable(f"The benchmark's job did not complete: {reason}")
