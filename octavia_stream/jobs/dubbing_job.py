"""A video-translate job: fetch the source, dub it, store what came out."""

from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from octavia_stream.captions.cues import write_srt, write_vtt
from octavia_stream.dubbing.batch import DubRequest, DubResult, dub_file
from octavia_stream.dubbing.checkpoints import Checkpoints, Stage
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.progress import Emit
from octavia_stream.errors import InvalidRequest
from octavia_stream.events.event import ArtifactReady, Warned
from octavia_stream.jobs.job import Artifact, Claim, DubbingOptions
from octavia_stream.languages import Language, parse_language
from octavia_stream.media.info import AudioTrack, MediaInfo
from octavia_stream.media.muxer import container_for
from octavia_stream.media.probe import probe, require_audio
from octavia_stream.models.registry import Registry
from octavia_stream.mt.routes import Route, plan_route
from octavia_stream.runtime import Runtime
from octavia_stream.storage.objects import StoredObject
from octavia_stream.tts.voice import Voice
from octavia_stream.vad.silero import SileroDetector

VAD_MODEL = "silero-v6"

CONTENT_TYPES = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "webm": "video/webm",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "json": "application/json",
}


@dataclass(frozen=True, slots=True)
class DubbingJobResult:
    """What a finished dub leaves behind."""

    artifacts: list[Artifact]
    report: dict[str, object]


class DubbingJob:
    """Runs dubbing jobs; one serves them all."""

    def __init__(self, runtime: Runtime, engines: Engines, registry: Registry) -> None:
        self._runtime = runtime
        self._engines = engines
        self._registry = registry
        self._vad: SileroDetector | None = None

    def _detector(self) -> SileroDetector:
        """A detector for one file; all share one loaded model."""
        directory = self._registry.resolve(VAD_MODEL).path
        detector = SileroDetector(directory, self._vad.session if self._vad else None)
        self._vad = self._vad or detector
        return detector

    async def __call__(self, claim: Claim, scratch: Path, checkpoints: Checkpoints, emit: Emit) -> DubbingJobResult:
        """Raises every OctaviaError that the source, the options or the models give reason for."""
        options = claim.job.options
        source = await self._fetch(claim, scratch)
        request = await self._request(source, options, scratch)
        for warning in request.info.warnings:
            emit(Warned("media", warning))
        result = await dub_file(request, self._engines, self._detector(), checkpoints, emit)
        artifacts = [await self._store_file(claim, request.output, emit)]
        for name, content in _texts(request, result).items():
            artifacts.append(await self._store_text(claim, name, content, emit))
        return DubbingJobResult(artifacts, _report(request, result))

    async def _fetch(self, claim: Claim, scratch: Path) -> Path:
        upload = await self._runtime.uploads.get(claim.job.upload_id, claim.job.owner_id)
        local = self._runtime.objects.local_path(upload.key)
        if local is not None:
            return local
        path = scratch / "source"
        await self._runtime.objects.download(upload.key, path)
        return path

    async def _request(self, source: Path, options: DubbingOptions, scratch: Path) -> DubRequest:
        settings = self._runtime.settings
        info = await probe(source, settings.media)
        track = choose_track(info, options.audio_track)
        target = parse_language(options.target_language)
        voice = self._registry.choose_voice(target, options.voice)
        container = container_for(info)
        return DubRequest(
            source=source,
            info=info,
            track=track,
            output=scratch / f"dub.{container}",
            container=container,
            scratch=scratch,
            source_language=parse_language(options.source_language) if options.source_language else None,
            target_language=target,
            voice=voice,
            route=lambda spoken: self._route(spoken, target),
            fingerprints=self._fingerprints(voice),
            media=settings.media,
            original_gain_db=options.original_gain_db,
            keep_original_track=options.keep_original_track,
            attempts=settings.worker.chunk_attempts,
            window_chunks=settings.worker.window_chunks,
        )

    def _route(self, spoken: Language, target: Language) -> Route:
        return plan_route(spoken, target, self._registry.mt_pairs())

    def _fingerprints(self, voice: Voice) -> dict[Stage, str]:
        models = self._runtime.settings.models
        return {
            "transcribe": f"{models.asr} {models.compute_type}",
            "translate": models.compute_type,
            "synthesize": f"{voice.model} {voice.speaker}",
        }

    async def _store_file(self, claim: Claim, path: Path, emit: Emit) -> Artifact:
        stored = await self._runtime.objects.put_file(_key(claim, path.name), path)
        return _announced(claim, path.name, stored, emit)

    async def _store_text(self, claim: Claim, name: str, content: bytes, emit: Emit) -> Artifact:
        stored = await self._runtime.objects.put(_key(claim, name), content)
        return _announced(claim, name, stored, emit)


def choose_track(info: MediaInfo, wanted: int | None) -> AudioTrack:
    """The audio track to dub: the one asked for, else the default one. Raises MediaRejected, InvalidRequest.

    wanted: counts the sound tracks from 0.
    """
    tracks = require_audio(info)
    if wanted is None:
        return info.default_audio or tracks[0]
    if not 0 <= wanted < len(tracks):
        raise InvalidRequest(f"The file has {len(tracks)} audio tracks, counted from 0; there is no {wanted}.")
    return tracks[wanted]


def _key(claim: Claim, name: str) -> str:
    # The epoch keeps a worker that lost its lease from overwriting what its successor made.
    return f"jobs/{claim.job.id}/results/{claim.epoch}/{name}"


def _announced(claim: Claim, name: str, stored: StoredObject, emit: Emit) -> Artifact:
    content_type = CONTENT_TYPES[name.rpartition(".")[2]]
    emit(ArtifactReady(name, content_type, stored.size))
    return Artifact(name, _key(claim, name), content_type, stored.size, stored.sha256)


def _texts(request: DubRequest, result: DubResult) -> dict[str, bytes]:
    source, target = result.source_language, request.target_language
    suffix = "" if source != target else ".dub"
    return {
        f"{source}.srt": write_srt(result.source_cues).encode(),
        f"{source}.vtt": write_vtt(result.source_cues).encode(),
        f"{target}{suffix}.srt": write_srt(result.target_cues).encode(),
        f"{target}{suffix}.vtt": write_vtt(result.target_cues).encode(),
        "report.json": msgspec.json.format(msgspec.json.encode(_report(request, result)), indent=2),
    }


def _report(request: DubRequest, result: DubResult) -> dict[str, object]:
    return {
        "source_language": result.source_language,
        "target_language": request.target_language,
        "voice": request.voice.id,
        "models": dict(request.fingerprints),
        "samples": result.muxed.length,
        "rate_hz": result.muxed.codec_rate_hz,
        "fit": asdict(result.fit) | {"inside_share": round(result.fit.inside_share, 4)},
    }
