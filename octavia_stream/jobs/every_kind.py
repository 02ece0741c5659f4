"""Who does which kind of job."""

from pathlib import Path

from octavia_stream.dubbing.checkpoints import Checkpoints
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.progress import Emit
from octavia_stream.jobs.caption_job import CaptionJob
from octavia_stream.jobs.dubbing_job import DubbingJob
from octavia_stream.jobs.job import Claim, JobKind
from octavia_stream.jobs.job_models import JobModels
from octavia_stream.jobs.speech_job import SpeechJob
from octavia_stream.jobs.subtitle_job import SubtitleJob
from octavia_stream.jobs.worker import JobResult, JobRunner
from octavia_stream.models.registry import Registry
from octavia_stream.runtime import Runtime


class EveryKind:
    """The `JobRunner` that hands each job to the one of its kind."""

    def __init__(self, runtime: Runtime, engines: Engines, registry: Registry) -> None:
        models = JobModels(runtime.settings, registry)
        dubbing = DubbingJob(runtime, engines, models)
        self._runners: dict[JobKind, JobRunner] = {
            "video-translate": dubbing,
            "audio-translate": dubbing,
            "subtitle-generate": CaptionJob(runtime, engines, models),
            "subtitle-translate": SubtitleJob(runtime, engines, models),
            "subtitle-to-audio": SpeechJob(runtime, engines, models),
        }

    async def __call__(self, claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> JobResult:
        """Raises every OctaviaError that the job gives reason for."""
        return await self._runners[claim.job.kind](claim, scratch, checkpoints, emit)
