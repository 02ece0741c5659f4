"""kill -9 anything in the middle of a job: it completes once, nothing finished is redone, no event is missed."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import psutil
import pytest

from benchmarks.sound import read_track, write_wav
from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.audit.invariants import audit
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.events.event import ArtifactReady, Completed, JobEventRecord, Progress, SegmentDubbed
from octavia_stream.jobs.job import TERMINAL, AudioDubbingOptions, Job, JobStatus
from octavia_stream.launcher.environment import environment_of
from octavia_stream.sessions.session import LiveSession
from octavia_stream.uploads.upload import upload_key
from tests.acceptance.conftest import DATA, Running
from tests.acceptance.live_talk import LiveTalk

pytestmark = [pytest.mark.acceptance, pytest.mark.ray, pytest.mark.services, pytest.mark.timeout(300)]

TALK = DATA / "speech" / "en" / "lj_printing_4min.flac"
SEGMENTS_BEFORE_THE_KILL = 5


async def run_and_kill(
    running: Running, kill: Callable[[Running], None]
) -> tuple[UUID, list[JobEventRecord], datetime]:
    """Run a job to its end, and kill something when a few segments are spoken."""
    upload = await running.client.upload(TALK, lambda _: None)
    job_id = await running.client.create_job({"upload_id": upload, "target_language": "pt", "source_language": "en"})
    records: list[JobEventRecord] = []
    killed_at: datetime | None = None
    async with asyncio.timeout(200):
        async for record in running.client.events(job_id):
            records.append(record)
            spoken = sum(isinstance(other.event, SegmentDubbed) for other in records)
            if killed_at is None and spoken >= SEGMENTS_BEFORE_THE_KILL:
                killed_at = await running.runtime.pool.fetchval("select now()")
                kill(running)
    assert killed_at is not None
    return UUID(job_id), records, killed_at


async def check(running: Running, job_id: UUID, records: list[JobEventRecord], killed_at: datetime) -> None:
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert isinstance(records[-1].event, Completed)
    assert sum(isinstance(record.event, Completed) for record in records) == 1
    percents = [record.event.percent for record in records if isinstance(record.event, Progress)]
    assert percents == sorted(percents)
    rows = await running.runtime.pool.fetch("select * from chunk where job_id = $1", job_id)
    assert all(row["state"] == "done" for row in rows)
    finished_before = [row for row in rows if row["finished_at"] < killed_at]
    assert len(finished_before) > SEGMENTS_BEFORE_THE_KILL
    assert all(row["attempts"] == 1 for row in finished_before)
    stored = await running.runtime.pool.fetch("select seq from job_event where job_id = $1 order by seq", job_id)
    assert [row["seq"] for row in stored] == [record.seq for record in records]
    job = await running.client.job(str(job_id))
    assert job["status"] == "completed"
    names = [artifact["name"] for artifact in job["artifacts"]]
    assert len(names) == len(set(names))
    last_told = {record.event.name for record in records if isinstance(record.event, ArtifactReady)}
    assert last_told == set(names)
    await nothing_is_off(running)


async def nothing_is_off(running: Running) -> None:
    """Everything is counted, as `octavia audit` does: leftovers of a killed worker too, once its successor is up."""
    async with asyncio.timeout(60):
        while True:
            found = await audit(
                running.runtime.pool, running.runtime.objects, running.home, deadline_s=60.0, grace_s=0.0
            )
            if found.count("scratch") == 0:
                break
            await asyncio.sleep(0.5)
    assert found.clean, [breach for breach in found.breaches if breach.count]


def kill_replica(deployment: str) -> Callable[[Running], None]:
    def kill(running: Running) -> None:
        running.replica(deployment).send_signal(signal.SIGKILL)

    return kill


def kill_api(running: Running) -> None:
    psutil.Process(running.stack.pids()["api"]).send_signal(signal.SIGKILL)


@pytest.mark.parametrize("deployment", ["Asr", "Mt", "Tts", "JobWorker"])
async def test_a_killed_replica_costs_only_what_was_in_flight(scripted_stack: Running, deployment: str) -> None:
    job_id, records, killed_at = await run_and_kill(scripted_stack, kill_replica(deployment))
    await check(scripted_stack, job_id, records, killed_at)


async def test_a_killed_api_loses_no_event_of_a_client_that_reconnects(scripted_stack: Running) -> None:
    job_id, records, killed_at = await run_and_kill(scripted_stack, kill_api)
    await check(scripted_stack, job_id, records, killed_at)


CLIP = DATA / "speech" / "en" / "fleurs-en-000.ogg"


async def uploaded(running: Running, owner_id: UUID, sound: Path) -> UUID:
    stores, upload_id = running.runtime, uuid7()
    key = upload_key(upload_id)
    stored = await stores.objects.put_file(key, sound)
    await stores.uploads.add(
        upload_id, owner_id, sound.name, "audio/wav", size=stored.size, sha256=stored.sha256, key=key
    )
    return upload_id


async def submitted(running: Running, owner_id: UUID, upload_id: UUID) -> Job:
    """A job that waits for a worker."""
    jobs, options = running.runtime.jobs, AudioDubbingOptions(source_language="en", target_language="pt")
    job = await jobs.create(owner_id, "audio-translate", upload_id, options)
    return await jobs.submit(job.id, owner_id)


async def test_nine_short_jobs_of_nine_users_pass_the_long_ones_of_another(
    scripted_stack: Running, tmp_path: Path
) -> None:
    """On the stack that is up anyway. Four films fill the worker for minutes; nobody waits for one of them to end."""
    stores = scripted_stack.runtime
    owner, *others = [await stores.accounts.sign_up(f"{uuid4().hex}@example.org", "a good password") for _ in range(10)]
    write_wav(tmp_path / "film.wav", (await read_track(TALK, ASR_RATE_HZ)).sound, times=4)
    film = await uploaded(scripted_stack, owner.id, tmp_path / "film.wav")
    films = [await submitted(scripted_stack, owner.id, film) for _ in range(5)]
    await reached(scripted_stack, films[:4], {"processing"})
    clips = [
        await submitted(scripted_stack, other.id, await uploaded(scripted_stack, other.id, CLIP)) for other in others
    ]
    await reached(scripted_stack, clips, TERMINAL)
    ended = [(await stores.jobs.get(clip.id, clip.owner_id)).status for clip in clips]
    states = [(await stores.jobs.get(film.id, film.owner_id)).status for film in films]
    for job in films:
        await stores.jobs.request_cancel(job.id, job.owner_id)
    await reached(scripted_stack, films, TERMINAL)
    assert ended == ["completed"] * len(others)
    assert states == ["processing"] * 4 + ["pending"], "the films go on, and no place of newcomers is the fifth's"


async def reached(running: Running, jobs: list[Job], statuses: Collection[JobStatus]) -> None:
    async with asyncio.timeout(180):
        for job in jobs:
            while (await running.runtime.jobs.get(job.id, job.owner_id)).status not in statuses:  # noqa: ASYNC110
                await asyncio.sleep(0.2)


async def live_node(running: Running) -> psutil.Process:
    """A stack is ready before its live nodes are."""
    async with asyncio.timeout(60):
        while not any(":LiveNode" in one.info["title"] for one in running.processes()):  # noqa: ASYNC110  (another process)
            await asyncio.sleep(0.5)
    return running.replica("LiveNode")


async def test_a_killed_speaker_leaves_no_socket_and_nothing_held(scripted_stack: Running, tmp_path: Path) -> None:
    store, node = scripted_stack.runtime.live, await live_node(scripted_stack)

    def udp_sockets() -> int:
        return len(node.net_connections("udp"))

    async def holds(what: Callable[[LiveSession], bool]) -> LiveSession:
        async with asyncio.timeout(60):
            while not sessions or not what(await store.get(sessions[0])):
                sessions[:] = [one.id for one in await store.list_sessions(None, 100) if one.id not in earlier]
                await asyncio.sleep(0.1)
        return await store.get(sessions[0])

    before, sessions = udp_sockets(), list[UUID]()
    earlier = {one.id for one in await store.list_sessions(None, 100)}
    speaker = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from octavia_stream.cli.main import main; main()", "live", str(TALK), "--to", "pt"),
        *("--output", str(tmp_path)),
        env=environment_of(scripted_stack.stack.settings, os.environ),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        speaking = await holds(lambda session: session.status == "live" and session.heard_s > 1)
        during = udp_sockets()
    finally:
        speaker.kill()
        await speaker.wait()
    waiting = await holds(lambda session: session.status == "waiting")
    # What was only cut off for a moment may go on; ICE gives it up after half a minute (RFC 7675).
    async with asyncio.timeout(90):
        while udp_sockets() > before:  # noqa: ASYNC110  (another process)
            await asyncio.sleep(0.2)
    assert during > before
    assert (waiting.epoch, waiting.hold_id) == (speaking.epoch, speaking.hold_id)
    ended = await store.end_now(waiting.id, "lost")
    assert ended.status == "ended"
    await nothing_is_off(scripted_stack)


async def spoken() -> bytes:
    """Half a minute of the talk, as the sockets of live sessions take it."""
    samples = (await read_track(TALK, 24_000)).sound.samples.reshape(-1)[: 24_000 * 30]
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


async def test_a_live_session_outlives_model_servers_the_api_and_redis(scripted_stack: Running) -> None:
    """Of the live node's own death tells test_live_kill.py."""
    session = await scripted_stack.client.open_live({"targets": [{"language": "pt"}], "source": "en"})
    store, session_id = scripted_stack.runtime.live, UUID(session["id"])
    async with asyncio.timeout(240), LiveTalk(session, await spoken()) as talk:
        await talk.more_phrases(1)
        for deployment in ("Asr", "Mt", "Tts"):
            kill_replica(deployment)(scripted_stack)
        await talk.more_phrases(2)
        psutil.Process(scripted_stack.stack.pids()["valkey"]).send_signal(signal.SIGKILL)
        kill_api(scripted_stack)
        await talk.more_phrases(2)
        going_on = await store.get(session_id)
    ended = await store.end_now(session_id, "closed")
    assert (going_on.status != "ended", going_on.epoch) == (True, 1)
    assert [record.seq for record in talk.records] == list(range(1, len(talk.records) + 1))
    assert ended.end_reason == "closed"
    await nothing_is_off(scripted_stack)
