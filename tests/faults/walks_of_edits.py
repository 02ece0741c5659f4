"""Deaths while a finished dub is edited: what there was stays as it was, and the edit is made once."""

import httpx

from octavia_stream.crash_points import CrashPoint
from octavia_stream.jobs.job import AudioDubbingOptions, Job
from tests.faults.lives import worker_life
from tests.faults.server import FREE, Server, walk

WISH = {"version": 1, "edits": [{"edit": "translation", "id": 0, "text": "Bom dia."}]}


async def dubbed(server: Server) -> Job:
    """A finished dub."""
    upload = await server.uploaded()
    options = AudioDubbingOptions(target_language="pt", source_language="en")
    job = await server.runtime.jobs.create(server.person, "audio-translate", upload.id, options)
    await server.runtime.jobs.submit(job.id, server.person)
    return await server.ended(job.id)


async def edit(server: Server, job: Job) -> httpx.Response:
    return await server.http.patch(f"/api/v1/jobs/{job.id}/segments", json=WISH)


async def content(server: Server, job: Job, version: int) -> bytes:
    answer = await server.http.get(f"/api/v1/jobs/{job.id}/download?version={version}")
    assert answer.status_code == 200, answer.text
    return answer.content


async def is_edited_once(server: Server, job: Job, before: bytes) -> None:
    """There are two versions, each paid for once, and the first is what it was."""
    ended = await server.ended(job.id)
    assert ended.version == 2
    assert await content(server, job, 1) == before
    assert await content(server, job, 2) != before
    lines = await server.runtime.credits.statement(server.person, 50, types=["capture"], job_id=job.id)
    assert len(lines) == 2
    now = await server.runtime.credits.balance(server.person)
    assert (now.held, now.balance) == (0, FREE + sum(line.amount for line in lines))
    await server.nothing_is_off()


@walk(CrashPoint.EDIT_RESERVED, CrashPoint.EDIT_QUEUED)
async def an_edit_is_asked_for_again(server: Server, point: CrashPoint) -> None:
    job = await dubbed(server)
    before = await content(server, job, 1)
    await server.die(point, lambda: edit(server, job))
    assert await content(server, job, 1) == before
    assert (await edit(server, job)).status_code == (409 if point is CrashPoint.EDIT_QUEUED else 202)
    await is_edited_once(server, job, before)


@walk(CrashPoint.MANUSCRIPT_STORED)
async def another_worker_goes_on_with_the_edit(server: Server, point: CrashPoint) -> None:
    job = await dubbed(server)
    before = await content(server, job, 1)
    assert (await edit(server, job)).status_code == 202
    worker = worker_life(server.settings.model_copy(update={"crash_point": point}))
    await worker.killed()
    half = await server.runtime.jobs.get(job.id, server.person)
    assert (half.version, half.artifacts) == (1, job.artifacts)
    assert await content(server, job, 1) == before
    await server.lease_over(job.id)
    await is_edited_once(server, job, before)
