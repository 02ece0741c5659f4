"""A finished job whose segments were edited: its next version, of which only what was edited is made."""

import asyncio
from dataclasses import replace
from functools import partial

from octavia_stream.dubbing.audition import UNHEARD
from octavia_stream.dubbing.batch import DubRequest, DubResult
from octavia_stream.dubbing.checkpoints import Checkpoints
from octavia_stream.dubbing.edits import revise
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.progress import Emit
from octavia_stream.dubbing.redubbing import redub_file
from octavia_stream.jobs.job import Job
from octavia_stream.jobs.job_models import JobModels
from octavia_stream.jobs.sources import fetch_results
from octavia_stream.runtime import Runtime


async def edited(
    runtime: Runtime,
    models: JobModels,
    engines: Engines,
    job: Job,
    request: DubRequest,
    checkpoints: Checkpoints,
    emit: Emit,
) -> DubResult | None:
    """The version that was asked for; None: the job was submitted as a whole.

    request: as that of the whole job. Raises what `redub_file` raises, NotFound, StorageUnavailable.
    """
    edit = await runtime.versions.under_way(job.id) if job.version else None
    if edit is None:
        return None
    base, manuscript = await runtime.versions.manuscript(job, edit.base)
    earlier = await fetch_results(runtime, job, base, request.scratch)
    targets = tuple(replace(target, earlier=earlier.get(target.output.name)) for target in request.targets)
    # What was heard is text by now. Judges would have to listen to all of it again.
    request = replace(request, targets=targets, route=partial(models.route, text=True), audition=UNHEARD)
    draft = await asyncio.to_thread(revise, manuscript, edit.edits)
    return await redub_file(request, draft, models.spoken_by, engines, checkpoints, emit)
