"""A subtitle-translate job: the same subtitle file in other languages."""

from pathlib import Path

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.dubbing.checkpoints import Checkpoints
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.progress import Emit
from octavia_stream.dubbing.subtitle_translation import SubtitleRequest, translate_subtitles
from octavia_stream.errors import InvalidRequest
from octavia_stream.events.event import Warned
from octavia_stream.jobs.artifacts import Artifacts, FinishedJob
from octavia_stream.jobs.job import Claim, SubtitleOptions
from octavia_stream.jobs.job_models import JobModels
from octavia_stream.jobs.sources import fetch_subtitles
from octavia_stream.languages import parse_language
from octavia_stream.runtime import Runtime


class SubtitleJob:
    """Runs subtitle translations; one serves them all."""

    def __init__(self, runtime: Runtime, engines: Engines, models: JobModels) -> None:
        self._runtime = runtime
        self._engines = engines
        self._models = models

    async def __call__(self, claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> FinishedJob:
        """Raises every OctaviaError that the source, the options or the models give reason for."""
        job = claim.job
        if not isinstance(job.options, SubtitleOptions):
            raise InvalidRequest("This job translates no subtitles.")
        file = await fetch_subtitles(self._runtime, job.upload_id, job.owner_id)
        for warning in file.warnings:
            emit(Warned("subtitles", warning))
        source = parse_language(job.options.source_language)
        targets = [parse_language(tag) for tag in job.options.target_languages]
        request = SubtitleRequest(
            file=file,
            source_language=source,
            routes={target: self._models.route(source, target, text=True) for target in targets},
            fingerprints=self._models.fingerprints(),
            attempts=self._runtime.settings.worker.chunk_attempts,
            glossary=job.options.glossary,
        )
        translated = await translate_subtitles(request, self._engines, checkpoints, emit)
        artifacts = Artifacts(self._runtime.objects, claim, emit)
        for target, content in translated.files.items():
            await artifacts.add(f"{target}.{file.format}", content)
        return await artifacts.finish(
            {
                "source_language": source,
                "target_languages": targets,
                "models": {"translate": request.fingerprints["translate"]},
                "format": file.format,
                "cues": len(file.cues),
                "sentences": translated.sentences,
                "samples": file.end_ms * ASR_RATE_HZ // 1000,
                "rate_hz": ASR_RATE_HZ,
            }
        )
