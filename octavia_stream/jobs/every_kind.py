"""Who does which kind of job, and with whose share of the engines."""

from collections.abc import Callable
from pathlib import Path

from octavia_stream.cache.engines import with_cache
from octavia_stream.dubbing.checkpoints import Checkpoints
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.progress import Emit
from octavia_stream.jobs.caption_job import CaptionJob
from octavia_stream.jobs.dubbing_job import DubbingJob
from octavia_stream.jobs.job import Claim, Job, JobKind
from octavia_stream.jobs.job_models import JobModels
from octavia_stream.jobs.speech_job import SpeechJob
from octavia_stream.jobs.subtitle_job import SubtitleJob
from octavia_stream.jobs.worker import JobResult, JobRunner
from octavia_stream.models.registry import Registry
from octavia_stream.runtime import Runtime
from octavia_stream.scheduling.share import EnginesFor, Share

RUNNERS: dict[JobKind, Callable[[Runtime, Engines, JobModels], JobRunner]] = {
    "video-translate": DubbingJob,
    "audio-translate": DubbingJob,
    "subtitle-generate": CaptionJob,
    "subtitle-translate": SubtitleJob,
    "subtitle-to-audio": SpeechJob,
}


class EveryKind:
    """The `JobRunner` that hands each job to the one of its kind."""

    def __init__(self, runtime: Runtime, engines: EnginesFor, registry: Registry) -> None:
        self._runtime = runtime
        self._engines = engines
        self._models = JobModels(runtime.settings, registry)

    async def __call__(self, claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> JobResult:
        """Raises every OctaviaError that the job gives reason for."""
        share = await self._share(claim.job)
        engines = with_cache(self._engines(share), self._runtime.cache, self._models, share.tenant)
        run = RUNNERS[claim.job.kind](self._runtime, engines, self._models)
        return await run(claim, scratch, checkpoints, emit)

    async def _share(self, job: Job) -> Share:
        """Who pays gets what their tier says."""
        quotas = self._runtime.quotas
        tier = quotas.tier(await quotas.tier_of(self._runtime.pool, job.owner_id))
        return Share(job.owner_id, tier.weight)
