"""Edits of a finished job in the store: the version there is stays until the next is finished."""

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from octavia_stream.dubbing.edits import TranslationEdit
from octavia_stream.errors import Conflict, NotFound
from octavia_stream.events.event import Cancelled, Completed, JobEvent, Progress, Submitted
from octavia_stream.jobs.job import Artifact, Claim, Job
from octavia_stream.jobs.removal import remove_job, remove_leftovers
from octavia_stream.languages import Language
from octavia_stream.runtime import Runtime

pytestmark = pytest.mark.services

MakeJob = Callable[[], Awaitable[Job]]
EDITS = [TranslationEdit(id=0, text="Bom dia.")]
SPANS = {Language("pt"): [(0.0, 1.5)]}


async def claimed(runtime: Runtime) -> Claim:
    claim = await runtime.jobs.claim("w", 30.0)
    assert claim is not None
    return claim


async def kept(runtime: Runtime, claim: Claim, name: str) -> Artifact:
    key = f"jobs/{claim.job.id}/results/{claim.epoch}/{name}"
    stored = await runtime.objects.put(key, f"{name} of {claim.epoch}".encode())
    return Artifact(name, key, "video/mp4", stored.size, stored.sha256)


async def finish(runtime: Runtime, claim: Claim) -> list[Artifact]:
    """End it as a dub; gives its results."""
    dub, manuscript = await kept(runtime, claim, "dub.mp4"), await kept(runtime, claim, "manuscript.msgpack")
    await remove_leftovers(runtime.jobs, runtime.objects, claim, [dub, manuscript])
    await runtime.jobs.append(claim, [Progress("ASSEMBLING", 90.0, {})])
    await runtime.jobs.finish(claim, "completed", artifacts=[dub], report={"of": claim.epoch}, manuscript=manuscript)
    return [dub]


async def test_an_edit_that_is_cancelled_leaves_what_there_was_and_goes_on_when_it_is_retried(
    runtime: Runtime, submitted: MakeJob
) -> None:
    job = await submitted()
    first = await finish(runtime, await claimed(runtime))
    waiting = await runtime.jobs.edit(job.id, job.owner_id, 1, EDITS, SPANS)
    assert (waiting.status, waiting.percent, waiting.version, waiting.artifacts) == ("pending", 0.0, 1, first)
    with pytest.raises(Conflict, match="pending"):
        await runtime.jobs.edit(job.id, job.owner_id, 1, EDITS, SPANS)
    claim = await claimed(runtime)
    await kept(runtime, claim, "half.mp4")
    await runtime.jobs.request_cancel(job.id, job.owner_id)
    await remove_leftovers(runtime.jobs, runtime.objects, claim, [])
    await runtime.jobs.finish(claim, "cancelled")
    cancelled = await runtime.jobs.get(job.id, job.owner_id)
    assert (cancelled.status, cancelled.version, cancelled.artifacts) == ("cancelled", 1, first)
    assert cancelled.report == {"of": 1}
    under_way = await runtime.versions.under_way(job.id)
    assert under_way is not None
    assert (under_way.number, under_way.base, under_way.edits, under_way.spans) == (2, 1, EDITS, SPANS)
    await runtime.jobs.retry(job.id, job.owner_id)
    second = await finish(runtime, await claimed(runtime))
    done = await runtime.jobs.get(job.id, job.owner_id)
    assert (done.status, done.version, done.artifacts) == ("completed", 2, second)
    versions = await runtime.versions.list_versions(job.id, 10)
    assert [(one.number, one.artifacts) for one in versions] == [(2, second), (1, first)]
    stored = {listed.key async for listed in runtime.objects.list(f"jobs/{job.id}")}
    assert stored == await runtime.jobs.kept_keys(job.id), "of both versions all, and nothing else"
    told: list[JobEvent] = [record.event for record in await runtime.jobs.events_after(job.id, 0)]
    asked = [event.version for event in told if isinstance(event, Submitted)]
    ended = [event.version for event in told if isinstance(event, Completed)]
    assert (asked, ended, sum(isinstance(event, Cancelled) for event in told)) == ([1, 2, 2], [1, 2], 1)
    assert await runtime.versions.under_way(job.id) is None
    await remove_job(runtime.jobs, runtime.objects, job.id, job.owner_id)
    assert [listed async for listed in runtime.objects.list(f"jobs/{job.id}")] == []
    with pytest.raises(NotFound):
        await runtime.versions.get(job.id, 1)


async def test_an_edit_that_failed_gives_way_to_another(runtime: Runtime, submitted: MakeJob) -> None:
    job = await submitted()
    await finish(runtime, await claimed(runtime))
    await runtime.jobs.edit(job.id, job.owner_id, 1, EDITS, SPANS)
    await runtime.jobs.finish(await claimed(runtime), "failed", error=("engine_unavailable", "It broke.", True))
    others = [msgspec.structs.replace(EDITS[0], text="Boa noite.")]
    await runtime.jobs.edit(job.id, job.owner_id, 1, others, SPANS)
    under_way = await runtime.versions.under_way(job.id)
    assert under_way is not None
    assert (under_way.number, under_way.edits) == (2, others)
    with pytest.raises(Conflict, match="is not finished"):
        await runtime.versions.manuscript(await runtime.jobs.get(job.id, job.owner_id), 2)
    await runtime.jobs.request_cancel(job.id, job.owner_id)
    with pytest.raises(Conflict, match="Version 7 was read, and the newest is 1"):
        await runtime.jobs.edit(job.id, job.owner_id, 7, EDITS, SPANS)
