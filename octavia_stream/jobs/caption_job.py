"""A subtitle-generate job: write down what is said, in its own language and in others."""

from pathlib import Path

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.captions.cues import Cue
from octavia_stream.dubbing.captioning import CaptionRequest, CaptionResult, caption_file
from octavia_stream.dubbing.checkpoints import Checkpoints
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.progress import Emit
from octavia_stream.errors import InvalidRequest
from octavia_stream.events.event import Warned
from octavia_stream.jobs.artifacts import Artifacts, FinishedJob
from octavia_stream.jobs.job import CaptionOptions, Claim
from octavia_stream.jobs.job_models import JobModels
from octavia_stream.jobs.sources import SourcePart, fetch_media, listened_part
from octavia_stream.languages import parse_language
from octavia_stream.runtime import Runtime


class CaptionJob:
    """Runs caption jobs; one serves them all."""

    def __init__(self, runtime: Runtime, engines: Engines, models: JobModels) -> None:
        self._runtime = runtime
        self._engines = engines
        self._models = models

    async def __call__(self, claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> FinishedJob:
        """Raises every OctaviaError that the source, the options or the models give reason for."""
        job = claim.job
        if not isinstance(job.options, CaptionOptions):
            raise InvalidRequest("This job makes no subtitles.")
        source, info = await fetch_media(self._runtime, job.upload_id, job.owner_id, scratch)
        part = await listened_part(source, info, job.options, scratch, self._runtime.settings.media, picture=False)
        request = self._request(part, job.options)
        for warning in request.info.warnings:
            emit(Warned("media", warning))
        result = await caption_file(request, self._engines, self._models.detector(), checkpoints, emit)
        artifacts = Artifacts(self._runtime.objects, claim, emit)
        for language, cues in result.cues.items():
            await artifacts.add_subtitles(language, [_later(cue, part) for cue in cues])
        return await artifacts.finish(_report(request, result) | part.report)

    def _request(self, part: SourcePart, options: CaptionOptions) -> CaptionRequest:
        settings = self._runtime.settings
        return CaptionRequest(
            source=part.path,
            info=part.info,
            track=part.track,
            source_language=parse_language(options.source_language) if options.source_language else None,
            target_languages=tuple(parse_language(tag) for tag in options.target_languages),
            route=self._models.route,
            fingerprints=self._models.fingerprints(),
            media=self._runtime.charges.limits(settings.media, part.info),
            attempts=settings.worker.chunk_attempts,
            window_chunks=settings.worker.window_chunks,
            glossary=options.glossary,
            cue_rules=options.subtitles,
        )


def _later(cue: Cue, part: SourcePart) -> Cue:
    """Subtitles of a part are for the whole file, which is what their owner has."""
    if part.start_s is None:
        return cue
    return Cue(cue.start_s + part.start_s, cue.end_s + part.start_s, cue.text)


def _report(request: CaptionRequest, result: CaptionResult) -> dict[str, object]:
    return {
        "source_language": result.source_language,
        "target_languages": list(request.target_languages),
        "models": dict(request.fingerprints),
        "sentences": result.sentences,
        "cues": {language: len(cues) for language, cues in result.cues.items()},
        "samples": round(result.duration_s * ASR_RATE_HZ),
        "rate_hz": ASR_RATE_HZ,
    }
