"""A subtitle-to-audio job: a subtitle file, spoken, by itself or over a video."""

import asyncio
from functools import partial
from pathlib import Path

from octavia_stream.captions.subtitle_file import SubtitleFile
from octavia_stream.dubbing.batch import DubRequest, DubResult, DubTarget
from octavia_stream.dubbing.checkpoints import Checkpoints
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.progress import Emit
from octavia_stream.dubbing.subtitle_speech import SubtitleSpeech
from octavia_stream.errors import InvalidRequest, MediaTooLarge
from octavia_stream.events.event import Warned
from octavia_stream.jobs.artifacts import Artifacts, FinishedJob
from octavia_stream.jobs.dubbing_job import dub_report
from octavia_stream.jobs.editing import edited
from octavia_stream.jobs.job import Claim, Job, SpeechOptions
from octavia_stream.jobs.job_models import JobModels
from octavia_stream.jobs.sources import choose_track, fetch_media, fetch_subtitles
from octavia_stream.languages import parse_language
from octavia_stream.media.muxer import container_for
from octavia_stream.media.probe import probe
from octavia_stream.media.silence import write_silence
from octavia_stream.runtime import Runtime

RATE_HZ = 24_000
"""Of speech by itself: what the voices make."""
CONTAINER = "m4a"


class SpeechJob:
    """Speaks subtitle files; one serves them all."""

    def __init__(self, runtime: Runtime, engines: Engines, models: JobModels) -> None:
        self._runtime = runtime
        self._engines = engines
        self._models = models

    async def __call__(self, claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> FinishedJob:
        """Raises every OctaviaError that the sources, the options or the models give reason for."""
        job, options = claim.job, claim.job.options
        if not isinstance(options, SpeechOptions):
            raise InvalidRequest("This job speaks no subtitles.")
        file = await fetch_subtitles(self._runtime, job.upload_id, job.owner_id)
        for warning in file.warnings:
            emit(Warned("subtitles", warning))
        request = await self._request(job, options, file, scratch)
        language = parse_language(options.source_language)
        speech = SubtitleSpeech(file, language, request, self._engines, checkpoints, emit)
        edition = await edited(self._runtime, self._models, self._engines, job, request, checkpoints, emit)
        result = edition or await speech.run()
        artifacts = Artifacts(self._runtime.objects, claim, emit)
        [dub] = result.dubs
        await artifacts.add_file(dub.target.output)
        texts = await speech.texts(result)
        if texts is not None and (edition or request.route(language, dub.target.language).hops):
            content = file.rewritten(texts, dub.target.language)
            await artifacts.add(f"{dub.target.language}.{file.format}", content)
        elif edition:
            # The file's own cues are not those of what is said now.
            await artifacts.add_subtitles(dub.target.language, dub.cues)
        return await artifacts.finish(_report(file, result), manuscript=result.manuscript)

    async def _request(self, job: Job, options: SpeechOptions, file: SubtitleFile, scratch: Path) -> DubRequest:
        settings = self._runtime.settings
        voice = self._models.voice(parse_language(options.target_language), options.voice)
        alone = options.video_upload_id is None
        if options.video_upload_id is None:
            media = await self._silence(file.end_ms, scratch)
            info = await probe(media, settings.media)
        else:
            media, info = await fetch_media(self._runtime, options.video_upload_id, job.owner_id, scratch)
        container = container_for(info, (options.container or CONTAINER) if alone else None)
        return DubRequest(
            source=media,
            info=info,
            track=choose_track(info, None),
            targets=(DubTarget(voice, scratch / f"dub.{container}", self._models.fingerprints(voice)),),
            container=container,
            scratch=scratch,
            source_language=parse_language(options.source_language),
            route=partial(self._models.route, text=True),
            media=settings.media,
            original_gain_db=None if options.mute_original else options.original_gain_db,
            keep_original_track=options.keep_original_track and not alone,
            attempts=settings.worker.chunk_attempts,
            glossary=options.glossary,
            written=True,
        )

    async def _silence(self, end_ms: int, scratch: Path) -> Path:
        """What the speech is laid over when there is no video: as long as the subtitles. Raises MediaTooLarge."""
        longest_s = self._runtime.settings.media.max_duration_s
        if end_ms > longest_s * 1000:
            raise MediaTooLarge(f"The last subtitle ends after {longest_s / 3600:g} h, the most this server speaks.")
        path = scratch / "silence.wav"
        await asyncio.to_thread(write_silence, path, end_ms * RATE_HZ // 1000, RATE_HZ)
        return path


def _report(file: SubtitleFile, result: DubResult) -> dict[str, object]:
    [dub] = result.dubs
    languages = {"source_language": result.source_language, "target_language": dub.target.language}
    return {**languages, "cues": len(file.cues), **dub_report(dub)}
