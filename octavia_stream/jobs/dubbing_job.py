"""A video-translate or audio-translate job: fetch the source, dub it, store what came out."""

from dataclasses import asdict
from pathlib import Path

import structlog

from octavia_stream.config import QualitySettings
from octavia_stream.dubbing.audition import AuditionPlan
from octavia_stream.dubbing.batch import Dub, DubRequest, DubResult, DubTarget, dub_file
from octavia_stream.dubbing.checkpoints import Checkpoints
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.progress import Emit
from octavia_stream.errors import InvalidRequest
from octavia_stream.events.event import Warned
from octavia_stream.jobs.artifacts import Artifacts, FinishedJob, target_stem
from octavia_stream.jobs.editing import edited
from octavia_stream.jobs.job import AudioDubbingOptions, Claim, DubbingOptions, Job, dubbed_languages
from octavia_stream.jobs.job_models import JobModels
from octavia_stream.jobs.judging import quality_of, summary
from octavia_stream.jobs.quality import QualityReport
from octavia_stream.jobs.sources import SourcePart, fetch_media, listened_part
from octavia_stream.jobs.streams import JobStream
from octavia_stream.languages import parse_language
from octavia_stream.media.info import MediaInfo
from octavia_stream.media.muxer import AUDIO_CONTAINERS, container_for
from octavia_stream.runtime import Runtime

log = structlog.get_logger()


class DubbingJob:
    """Runs dubbing jobs; one serves them all."""

    def __init__(self, runtime: Runtime, engines: Engines, models: JobModels) -> None:
        self._runtime = runtime
        self._engines = engines
        self._models = models

    async def __call__(self, claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> FinishedJob:
        """Raises every OctaviaError that the source, the options or the models give reason for."""
        job = claim.job
        if not isinstance(job.options, DubbingOptions | AudioDubbingOptions):
            raise InvalidRequest("This is no dubbing job.")
        source, info = await fetch_media(self._runtime, job.upload_id, job.owner_id, scratch)
        picture = isinstance(job.options, DubbingOptions) and info.video is not None
        media = self._runtime.settings.media
        part = await listened_part(source, info, job.options, scratch, media, picture=picture)
        request = self._request(claim, part, job.options, scratch)
        for warning in request.info.warnings:
            emit(Warned("media", warning))
        result = await self._dub(job, request, checkpoints, emit)
        artifacts = Artifacts(self._runtime.objects, claim, emit)
        for dub in result.dubs:
            await artifacts.add_file(dub.target.output)
        for dub in result.dubs:
            if dub.burned is not None:
                await artifacts.add_file(dub.burned)
        for language, cues in result.source_cues.items():
            await artifacts.add_subtitles(language, cues)
        for dub in result.dubs:
            await artifacts.add_subtitles(target_stem(result.source_language, dub.target.language), dub.cues)
        quality = _judged(result, self._runtime.settings.quality)
        judged = {"quality": summary(quality)} if quality else {}
        return await artifacts.finish(_report(result) | judged | part.report, quality, result.manuscript)

    async def _dub(self, job: Job, request: DubRequest, checkpoints: Checkpoints, emit: Emit) -> DubResult:
        """All of it, or what was edited of a finished dub."""
        result = await edited(self._runtime, self._models, self._engines, job, request, checkpoints, emit)
        if result is None:
            result = await dub_file(request, self._engines, self._models.detector(), checkpoints, emit)
        return result

    def _request(
        self, claim: Claim, part: SourcePart, options: DubbingOptions | AudioDubbingOptions, scratch: Path
    ) -> DubRequest:
        settings = self._runtime.settings
        container = _container(part.whole, options)
        return DubRequest(
            source=part.path,
            info=part.info,
            track=part.track,
            targets=self._targets(options, scratch, container),
            container=container,
            scratch=scratch,
            source_language=parse_language(options.source_language) if options.source_language else None,
            route=self._models.route,
            media=self._runtime.charges.limits(settings.media, part.info),
            original_gain_db=None if options.mute_original else options.original_gain_db,
            keep_original_track=isinstance(options, DubbingOptions) and options.keep_original_track,
            attempts=settings.worker.chunk_attempts,
            keep_original=options.on_chunk_failure == "keep_original",
            window_chunks=settings.worker.window_chunks,
            glossary=options.glossary,
            cue_rules=options.subtitles,
            stream=JobStream(self._runtime.objects, claim) if options.stream else None,
            stream_picture=isinstance(options, DubbingOptions),
            stream_transcode=isinstance(options, DubbingOptions) and options.transcode,
            burn_in=isinstance(options, DubbingOptions) and options.burn_in,
            audition=AuditionPlan(settings.quality.heard_share, str(claim.job.id), settings.worker.chunk_attempts),
        )

    def _targets(
        self, options: DubbingOptions | AudioDubbingOptions, scratch: Path, container: str
    ) -> tuple[DubTarget, ...]:
        languages = [parse_language(tag) for tag in dubbed_languages(options)]
        targets = []
        for language in languages:
            voice = self._models.voice(language, options.voices.get(language, options.voice))
            name = f"dub.{container}" if len(languages) == 1 else f"dub.{language}.{container}"
            targets.append(DubTarget(voice, scratch / name, self._models.fingerprints(voice)))
        return tuple(targets)


def _judged(result: DubResult, limits: QualitySettings) -> QualityReport | None:
    """None when judging fails: the dub is none the worse for that."""
    try:
        return quality_of(result.dubs, result.original_lufs, limits)
    except Exception:  # a defect of ours must not cost the user a dub that is finished
        log.exception("quality_unknown")
        return None


def _container(info: MediaInfo, options: DubbingOptions | AudioDubbingOptions) -> str:
    """Raises MediaRejected when the one asked for cannot be written."""
    return sound_container(info, options.container) if isinstance(options, AudioDubbingOptions) else container_for(info)


def sound_container(info: MediaInfo, requested: str | None) -> str:
    """The container for sound alone: the one asked for, else the source's own kind, M4A for that of a video.

    Raises MediaRejected when the request cannot be written.
    """
    if requested is not None:
        return container_for(info, requested)
    own = container_for(info)
    return own if own in AUDIO_CONTAINERS else "m4a"


def _report(result: DubResult) -> dict[str, object]:
    """Of one dub as it is; of several, what they share, and each under its language."""
    if len(result.dubs) == 1:
        [dub] = result.dubs
        return {"source_language": result.source_language, "target_language": dub.target.language, **dub_report(dub)}
    first = result.dubs[0].muxed
    return {
        "source_language": result.source_language,
        "target_languages": [dub.target.language for dub in result.dubs],
        "samples": first.length,
        "rate_hz": first.codec_rate_hz,
        "dubs": {dub.target.language: dub_report(dub) for dub in result.dubs},
    }


def dub_report(dub: Dub) -> dict[str, object]:
    """What a job's report says of a dub."""
    return {
        "voice": dub.target.voice.id,
        "models": dict(dub.target.fingerprints),
        "samples": dub.muxed.length,
        "rate_hz": dub.muxed.codec_rate_hz,
        "fit": asdict(dub.fit) | {"inside_share": round(dub.fit.inside_share, 4)},
    }
