"""A subtitle-to-audio job: a subtitle file, spoken, by itself or over a video."""

import asyncio
from dataclasses import asdict
from pathlib import Path

from octavia_stream.dubbing.checkpoints import Checkpoints
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.progress import Emit
from octavia_stream.dubbing.subtitle_speech import SpeechRequest, SpeechResult, speak_subtitles
from octavia_stream.errors import InvalidRequest, MediaTooLarge
from octavia_stream.events.event import Warned
from octavia_stream.jobs.artifacts import Artifacts, FinishedJob
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
        options = claim.job.options
        if not isinstance(options, SpeechOptions):
            raise InvalidRequest("This job speaks no subtitles.")
        request = await self._request(claim.job, options, scratch, emit)
        result = await speak_subtitles(request, self._engines, checkpoints, emit)
        artifacts = Artifacts(self._runtime.objects, claim, emit)
        await artifacts.add_file(request.output)
        if request.route.hops and result.texts is not None:
            content = request.file.rewritten(result.texts, request.target_language)
            await artifacts.add(f"{request.target_language}.{request.file.format}", content)
        return await artifacts.finish(_report(request, result))

    async def _request(self, job: Job, options: SpeechOptions, scratch: Path, emit: Emit) -> SpeechRequest:
        settings = self._runtime.settings
        file = await fetch_subtitles(self._runtime, job.upload_id, job.owner_id)
        for warning in file.warnings:
            emit(Warned("subtitles", warning))
        source = parse_language(options.source_language)
        target = parse_language(options.target_language)
        voice = self._models.voice(target, options.voice)
        if options.video_upload_id is not None:
            media = await fetch_media(self._runtime, options.video_upload_id, job.owner_id, scratch)
        else:
            media = await self._silence(file.end_ms, scratch)
        info = await probe(media, settings.media)
        requested = None if options.video_upload_id is not None else options.container or CONTAINER
        container = container_for(info, requested)
        return SpeechRequest(
            file=file,
            source=media,
            track=choose_track(info, None),
            output=scratch / f"dub.{container}",
            container=container,
            scratch=scratch,
            source_language=source,
            route=self._models.route(source, target, text=True),
            voice=voice,
            fingerprints=self._models.fingerprints(voice),
            media=settings.media,
            original_gain_db=None if options.mute_original else options.original_gain_db,
            keep_original_track=options.keep_original_track and options.video_upload_id is not None,
            attempts=settings.worker.chunk_attempts,
            glossary=options.glossary,
        )

    async def _silence(self, end_ms: int, scratch: Path) -> Path:
        """What the speech is laid over when there is no video: as long as the subtitles. Raises MediaTooLarge."""
        longest_s = self._runtime.settings.media.max_duration_s
        if end_ms > longest_s * 1000:
            raise MediaTooLarge(f"The last subtitle ends after {longest_s / 3600:g} h, the most this server speaks.")
        path = scratch / "silence.wav"
        await asyncio.to_thread(write_silence, path, end_ms * RATE_HZ // 1000, RATE_HZ)
        return path


def _report(request: SpeechRequest, result: SpeechResult) -> dict[str, object]:
    return {
        "source_language": request.source_language,
        "target_language": request.target_language,
        "voice": request.voice.id,
        "models": dict(request.fingerprints),
        "cues": len(request.file.cues),
        "samples": result.muxed.length,
        "rate_hz": result.muxed.codec_rate_hz,
        "fit": asdict(result.fit) | {"inside_share": round(result.fit.inside_share, 4)},
    }
