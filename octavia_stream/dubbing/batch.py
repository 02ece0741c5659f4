"""One file, door to door: demux, dub, mix, mux."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.captions.cues import Cue, SpokenText, make_cues
from octavia_stream.config import MediaSettings
from octavia_stream.dubbing.assembly import Assembly, AssemblyPlan
from octavia_stream.dubbing.checkpoints import Checkpoints, Stage
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.isochrony import FitReport, report
from octavia_stream.dubbing.listening import Listener
from octavia_stream.dubbing.loudness import LoudnessContour
from octavia_stream.dubbing.pipeline import Corridor, DubbingPlan, FittedSegment
from octavia_stream.dubbing.progress import Emit, ProgressTracker
from octavia_stream.dubbing.speech_spool import SpeechSpool
from octavia_stream.dubbing.streaming import FinalTimeline, StreamPlan, StreamStore, streaming
from octavia_stream.errors import NoSpeech
from octavia_stream.events.event import Analysed, Warned
from octavia_stream.languages import Language, language_name
from octavia_stream.media.demuxer import DecodeReport, Demuxer
from octavia_stream.media.info import AudioTrack, MediaInfo
from octavia_stream.media.muxer import MuxResult
from octavia_stream.mt.routes import Route
from octavia_stream.tts.voice import Voice
from octavia_stream.vad.detector import SpeechDetector

NOTABLE_GAP_S = 0.05
"""Shorter gaps in the timestamps are rounding."""
SPEECH_STAGES: tuple[Stage, ...] = ("transcribe", "translate", "synthesize")


@dataclass(frozen=True, slots=True)
class DubRequest:
    """What to dub, and how."""

    source: Path
    info: MediaInfo
    track: AudioTrack
    output: Path
    """Where the result goes; its folder exists."""
    container: str
    scratch: Path
    """A folder for temporary files."""
    source_language: Language | None
    target_language: Language
    voice: Voice
    route: Callable[[Language], Route]
    fingerprints: Mapping[Stage, str]
    media: MediaSettings
    original_gain_db: float = -24.0
    keep_original_track: bool = True
    attempts: int = 3
    keep_original: bool = False
    """Whether what no engine can do is left as the original sound; else it ends the dub."""
    window_chunks: int = 4
    stream: StreamStore | None = None
    """Where to stream what is done already; None: nowhere."""
    stream_picture: bool = True


@dataclass(frozen=True, slots=True)
class DubResult:
    """A finished dub."""

    source_language: Language
    segments: list[FittedSegment]
    source_cues: list[Cue]
    target_cues: list[Cue]
    fit: FitReport
    muxed: MuxResult


async def dub_file(
    request: DubRequest, engines: Engines, detector: SpeechDetector, checkpoints: Checkpoints, emit: Emit
) -> DubResult:
    """Dub one file into `request.output`.

    Raises NoSpeech, MediaRejected, UnsupportedLanguage, and what the engines raise when retries do not help.
    """
    duration = round(request.info.duration_s * ASR_RATE_HZ)
    progress = ProgressTracker(emit, duration)
    contour = LoudnessContour(ASR_RATE_HZ)
    listener = Listener(detector, contour, progress)
    with SpeechSpool(request.scratch / "speech.pcm") as spool:
        corridor = Corridor(_plan(request, emit), engines, checkpoints, progress, emit)
        demuxer = Demuxer(request.source, request.track, rate_hz=ASR_RATE_HZ, channels=1, settings=request.media)
        async with _streaming(request, spool, contour, corridor, emit) as timeline:
            async with demuxer as sound:
                fitted = await corridor.run(sound, listener, spool, timeline.add)
                decoded = demuxer.report
            timeline.end()
            language = corridor.source_language
            if language is None or not fitted:
                raise NoSpeech("No speech was found in this file, so there is nothing to dub.")
            _warn_of_damage(decoded, emit)
            for stage in SPEECH_STAGES:
                progress.ended(stage)
            source_cues, target_cues = _captions(fitted, listener.length)
            assembly = Assembly(_assembly_plan(request, language, decoded), fitted, spool, contour, progress)
            muxed = await assembly.run(source_cues, target_cues)
        progress.ended("assemble")
    for warning in muxed.warnings:
        emit(Warned("muxing", warning))
    fit = report([(item.segment.placement, item.segment.slot) for item in fitted])
    return DubResult(language, fitted, source_cues, target_cues, fit, muxed)


def _warn_of_damage(decoded: DecodeReport, emit: Emit) -> None:
    if decoded.errors or decoded.truncated:
        emit(Warned("damaged_media", "Parts of the file are damaged; what could be read of it is dubbed."))
    elif decoded.filled > decoded.source_rate_hz * NOTABLE_GAP_S:
        gap_s = decoded.filled / decoded.source_rate_hz
        emit(Warned("missing_sound", f"The sound has gaps of {gap_s:.1f} s in all; they are silent in the dub."))


def _streaming(
    request: DubRequest, spool: SpeechSpool, contour: LoudnessContour, corridor: Corridor, emit: Emit
) -> AbstractAsyncContextManager[FinalTimeline]:
    plan = StreamPlan(
        source=request.source,
        info=request.info,
        track=request.track,
        picture=request.stream_picture,
        target_language=request.target_language,
        media=request.media,
        original_gain_db=request.original_gain_db,
    )
    return streaming(plan, spool, contour, lambda: corridor.source_language, request.stream, emit)


def _plan(request: DubRequest, emit: Emit) -> DubbingPlan:
    def route(spoken: Language) -> Route:
        found = request.route(spoken)
        emit(Analysed(request.info.duration_s, spoken, request.target_language, request.voice.id))
        if spoken == request.target_language:
            name = language_name(spoken)
            emit(Warned("same_language", f"The speech is already in {name}: it is spoken again, not translated."))
        return found

    return DubbingPlan(
        source_language=request.source_language,
        target_language=request.target_language,
        voice=request.voice,
        route=route,
        fingerprints=request.fingerprints,
        attempts=request.attempts,
        keep_original=request.keep_original,
        chunks_in_flight=request.window_chunks,
    )


def _assembly_plan(request: DubRequest, language: Language, decoded: DecodeReport) -> AssemblyPlan:
    return AssemblyPlan(
        source=request.source,
        track=request.track,
        decoded=decoded,
        output=request.output,
        container=request.container,
        source_language=language,
        target_language=request.target_language,
        media=request.media,
        original_gain_db=request.original_gain_db,
        keep_original_track=request.keep_original_track,
    )


def _captions(fitted: list[FittedSegment], length: int) -> tuple[list[Cue], list[Cue]]:
    end_s = length / ASR_RATE_HZ
    sentences = [item.segment.sentence for item in fitted]
    spoken = [SpokenText(s.start / ASR_RATE_HZ, s.end / ASR_RATE_HZ, s.text) for s in sentences]
    dubbed = [
        SpokenText(
            item.segment.placement.start / ASR_RATE_HZ, item.segment.placement.end / ASR_RATE_HZ, item.segment.text
        )
        for item in fitted
    ]
    return make_cues(spoken, end_s), make_cues(dubbed, end_s)
