"""The audit is silent over what is right, and names each thing that is not."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from octavia_stream.accounts.teams import TeamStore
from octavia_stream.audit.invariants import Audit, audit, remove_orphans
from octavia_stream.billing import ledger
from octavia_stream.cli import audit as audit_command
from octavia_stream.config import Settings
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.events.event import Progress
from octavia_stream.jobs.checkpoints import JobCheckpoints
from octavia_stream.jobs.job import Artifact, Claim, DubbingOptions
from octavia_stream.jobs.scratch import worker_scratch
from octavia_stream.mail import outbox
from octavia_stream.runtime import Runtime
from octavia_stream.uploads.upload import upload_key

pytestmark = pytest.mark.services

AT_ONCE = 0.0
Spoil = Callable[[Runtime, Claim], Awaitable[object]]


@pytest.fixture
async def finished(runtime: Runtime) -> Claim:
    """A job that was done well: an upload, a chunk, a result and all its events. Jobs of the test before are gone."""
    await runtime.pool.execute("delete from job")
    await runtime.pool.execute("delete from upload")
    await runtime.pool.execute("delete from sound_use")
    await runtime.pool.execute("delete from open_upload")
    for prefix in ("jobs", "uploads", "calls"):
        await runtime.objects.delete_prefix(prefix)
    for part in (runtime.settings.home / "objects").rglob("*#*"):
        part.unlink()
    owner = (await runtime.accounts.sign_up(f"{uuid4().hex}@example.org", "a good password")).id
    upload_id = uuid7()
    stored = await runtime.objects.put(upload_key(upload_id), b"a talk")
    await runtime.uploads.add(
        upload_id, owner, "talk.mp4", "video/mp4", size=stored.size, sha256=stored.sha256, key=upload_key(upload_id)
    )
    job = await runtime.jobs.create(owner, "video-translate", upload_id, DubbingOptions(target_language="pt"))
    await runtime.jobs.submit(job.id, owner)
    claim = await runtime.jobs.claim("w", 60.0)
    assert claim is not None
    checkpoints = JobCheckpoints(runtime.jobs, runtime.objects, claim)
    await checkpoints.begin("transcribe", 0, "d")
    await checkpoints.save("transcribe", 0, "d", b"words")
    await runtime.jobs.append(claim, [Progress("TRANSCRIBING", 50.0, {})])
    await runtime.jobs.append(claim, [Progress("ASSEMBLING", 90.0, {})])
    key = f"jobs/{job.id}/results/{claim.epoch}/dub.mp4"
    stored = await runtime.objects.put(key, b"a dub")
    await runtime.jobs.finish(
        claim, "completed", artifacts=[Artifact("dub.mp4", key, "video/mp4", stored.size, stored.sha256)]
    )
    return claim


async def look(runtime: Runtime, *, content: bool = True, deadline_s: float = 60.0) -> Audit:
    return await audit(
        runtime.pool,
        runtime.objects,
        runtime.settings.home,
        deadline_s=deadline_s,
        grace_s=AT_ONCE,
        content=content,
    )


async def test_what_was_done_well_has_nothing_off(runtime: Runtime, finished: Claim) -> None:
    found = await look(runtime)
    assert found.clean, found.breaches
    assert {breach.invariant for breach in found.breaches} == {f"I{number}" for number in range(1, 8)}


async def test_a_team_of_nobody_is_counted(runtime: Runtime, finished: Claim) -> None:
    team = await TeamStore(runtime.pool).create(finished.job.owner_id, "Dubbers")
    assert (await look(runtime)).clean
    await runtime.pool.execute("alter table team_member disable trigger team_keeps_an_owner")
    try:
        await runtime.pool.execute("delete from team_member where team_id = $1", team.id)
        assert (await look(runtime)).count("ownerless_teams") == 1
    finally:
        await runtime.pool.execute("alter table team_member enable trigger team_keeps_an_owner")
        await runtime.pool.execute("delete from team where id = $1", team.id)


async def _sql(runtime: Runtime, claim: Claim, statement: str) -> None:
    await runtime.pool.execute(statement, claim.job.id)


async def _path_of(runtime: Runtime, claim: Claim, name: str = "dub.mp4") -> Path:
    path = runtime.objects.local_path(f"jobs/{claim.job.id}/results/{claim.epoch}/{name}")
    assert path is not None
    return path


async def _damage(runtime: Runtime, claim: Claim) -> None:
    (await _path_of(runtime, claim)).write_bytes(b"a dob")


async def _remove(runtime: Runtime, claim: Claim) -> None:
    (await _path_of(runtime, claim)).unlink()


async def _half(runtime: Runtime, claim: Claim) -> None:
    (await _path_of(runtime, claim)).with_name("dub.mp4#1").write_bytes(b"a d")


async def _orphan_upload(runtime: Runtime, claim: Claim) -> None:
    await runtime.objects.put(f"uploads/{uuid7()}", b"nobody's")


async def _orphan_recording(runtime: Runtime, claim: Claim) -> None:
    await runtime.objects.put(f"calls/{uuid7()}", b"of a call that nobody answers")


async def _orphan_result(runtime: Runtime, claim: Claim) -> None:
    await runtime.objects.put(f"jobs/{claim.job.id}/results/0/dub.mp4", b"an earlier worker's")


async def _orphan_job(runtime: Runtime, claim: Claim) -> None:
    await runtime.objects.put(f"jobs/{uuid7()}/anything", b"of a job that is gone")


BREACHES: list[tuple[str, str]] = [
    ("untold", "delete from job_event where job_id = $1 and type = 'submitted'"),
    ("gaps", "delete from job_event where job_id = $1 and seq = 3"),
    ("gaps", "update job set last_seq = last_seq + 1 where id = $1"),
    ("wrong_endings", "delete from job_event where job_id = $1 and type = 'completed'"),
    ("wrong_endings", "update job_event set type = 'failed' where job_id = $1 and type = 'completed'"),
    ("regressions", "update job_event set data = jsonb_set(data, '{percent}', '95') where job_id = $1 and seq = 3"),
    ("future_epochs", "update chunk set epoch = 99 where job_id = $1"),
    ("late_writes", "update chunk set finished_at = now() + interval '1 minute' where job_id = $1"),
    ("double_artifacts", "update job set artifacts = artifacts || artifacts where id = $1"),
    ("strangers", "update job set created_by = null where id = $1"),
    (
        "wrong_purses",
        "insert into credit_hold (id, owner_id, job_id, amount, state, closed_at) "
        "values (gen_random_uuid(), gen_random_uuid(), $1, 1, 'released', now())",
    ),
    ("sound_left", "update sound_use set settled_at = null where job_id = $1"),
    (
        "sound_left",
        "insert into sound_use (job_id, owner_id, seconds, taken_at) "
        "select gen_random_uuid(), owner_id, 60, now() - interval '1 s' from job where id = $1",
    ),
    (
        "room_left",
        "insert into open_upload (id, owner_id, size, expires_at) select id, owner_id, 1, now() from job where id = $1",
    ),
    ("missing_objects", "update chunk set key = key || 'x' where job_id = $1"),
    ("damaged_objects", "update upload set size = size + 1 where id = (select upload_id from job where id = $1)"),
]


@pytest.mark.parametrize(("name", "statement"), BREACHES)
async def test_each_breach_in_the_rows_is_counted(runtime: Runtime, finished: Claim, name: str, statement: str) -> None:
    await _sql(runtime, finished, statement)
    assert (await look(runtime)).count(name) == 1


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("damaged_objects", _damage),
        ("missing_objects", _remove),
        ("leftover_parts", _half),
        ("orphan_objects", _orphan_upload),
        ("orphan_objects", _orphan_recording),
        ("orphan_objects", _orphan_result),
        ("orphan_objects", _orphan_job),
    ],
)
async def test_each_breach_in_the_storage_is_counted(
    runtime: Runtime, finished: Claim, name: str, spoil: Spoil
) -> None:
    await spoil(runtime, finished)
    found = await look(runtime)
    assert [(breach.name, breach.count) for breach in found.breaches if breach.count] == [(name, 1)]


async def test_credits_that_are_held_past_their_time_are_counted(runtime: Runtime, finished: Claim) -> None:
    owner, credits = finished.job.owner_id, runtime.credits
    await credits.grant(owner, 10, key=f"gift/{owner}", reason="To be held.")
    async with runtime.pool.transaction() as connection:
        await ledger.reserve(connection, owner, 5, key=f"call/{owner}", reason="A call.", lifetime_s=60.0)
    assert (await look(runtime)).clean
    async with runtime.pool.transaction() as connection:
        await ledger.reserve(connection, owner, 5, key=f"lost/{owner}", reason="A call.", lifetime_s=0.0)
    assert (await look(runtime)).count("holds_left") == 1
    assert await credits.expire_due() == 1
    assert (await look(runtime)).clean


async def test_what_nobody_tells_is_counted_after_the_deadline(runtime: Runtime, finished: Claim) -> None:
    owner = finished.job.owner_id
    made = await runtime.webhooks.create(owner, "https://example.org/hook", ["job.completed"], "")
    await runtime.webhooks.ping(made.endpoint.id, owner)
    async with runtime.pool.transaction() as connection:
        await outbox.put(connection, owner, key=f"letter/{owner}", subject="Done", text="It is done.\n")
    assert (await look(runtime)).clean
    await runtime.pool.execute("update webhook_delivery set next_at = now() - interval '2 minutes'")
    await runtime.pool.execute("update letter set next_try_at = now() - interval '2 minutes'")
    found = await look(runtime)
    assert (found.count("messages_left"), found.count("letters_left")) == (1, 1)
    assert (await look(runtime, deadline_s=3600)).clean
    # Nobody is told at a webhook that is off.
    await runtime.webhooks.disable(made.endpoint.id, "It is off.")
    assert (await look(runtime)).count("messages_left") == 0
    await runtime.pool.execute("delete from letter")


async def test_a_quick_look_does_not_read(runtime: Runtime, finished: Claim) -> None:
    await _damage(runtime, finished)
    assert (await look(runtime, content=False)).clean


async def test_a_job_that_nobody_takes_is_stuck_after_the_deadline(runtime: Runtime, finished: Claim) -> None:
    job = finished.job
    waiting = await runtime.jobs.create(job.owner_id, "video-translate", job.upload_id, job.options)
    await runtime.jobs.submit(waiting.id, job.owner_id)
    assert (await look(runtime)).count("stuck") == 0
    await runtime.pool.execute("update job set submitted_at = now() - interval '2 minutes' where id = $1", waiting.id)
    assert (await look(runtime)).count("stuck") == 1
    assert (await look(runtime, deadline_s=3600)).count("stuck") == 0
    claim = await runtime.jobs.claim("w", 60.0)
    assert claim is not None
    assert (await look(runtime)).count("stuck") == 0


async def test_what_a_running_job_has_not_recorded_yet_is_no_orphan(runtime: Runtime, finished: Claim) -> None:
    job = finished.job
    running = await runtime.jobs.create(job.owner_id, "video-translate", job.upload_id, job.options)
    await runtime.jobs.submit(running.id, job.owner_id)
    assert await runtime.jobs.claim("w", 60.0) is not None
    await runtime.objects.put(f"jobs/{running.id}/chunks/transcribe/0-d-1", b"in flight")
    assert (await look(runtime)).clean


async def test_the_folder_of_a_dead_worker_is_counted_and_that_of_a_living_one_is_not(
    runtime: Runtime, finished: Claim
) -> None:
    scratch = runtime.settings.home / "scratch"
    with worker_scratch(scratch):
        assert (await look(runtime)).count("scratch") == 0
    (scratch / "worker-dead").mkdir()
    assert (await look(runtime)).count("scratch") == 1
    with worker_scratch(scratch):
        assert (await look(runtime)).count("scratch") == 0


async def test_repair_removes_old_orphans_and_nothing_else(runtime: Runtime, finished: Claim) -> None:
    await _orphan_upload(runtime, finished)
    await _orphan_result(runtime, finished)
    assert await remove_orphans(runtime.pool, runtime.objects) == (0, 0), "they are young"
    assert await remove_orphans(runtime.pool, runtime.objects, timedelta(0)) == (2, 8 + 19)
    assert (await look(runtime)).clean


async def test_the_command_says_what_is_off_by_its_exit_code(
    runtime: Runtime,
    settings: Settings,
    finished: Claim,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert settings.database_url is not None
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("OCTAVIA_HOME", str(settings.home))
    assert await asyncio.to_thread(lambda: audit_command.show_audit(as_json=True)) == 0
    assert '"name": "orphan_objects"' in capsys.readouterr().out
    await _remove(runtime, finished)
    assert await asyncio.to_thread(audit_command.show_audit) == 1
    assert "missing_objects" in capsys.readouterr().out
    old = await _path_of(runtime, finished, "lost.mp4")
    old.write_bytes(b"x")
    os.utime(old, (0, 0))
    await asyncio.to_thread(lambda: audit_command.show_audit(repair=True))
    assert "Removed 1 files" in capsys.readouterr().err
    assert not old.exists()
