"""One file, door to door: demux, dub, mix, mux."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.audio.resampling import resample
from octavia_stream.captions.cues import Cue, SpokenText, make_cues
from octavia_stream.config import MediaSettings
from octavia_stream.dubbing.checkpoints import Checkpoints, Stage
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.isochrony import FitReport, report
from octavia_stream.dubbing.listening import Listener
from octavia_stream.dubbing.loudness import SILENCE_LUFS, LoudnessContour, speech_loudness
from octavia_stream.dubbing.mixing import Clip, Ducking, mix
from octavia_stream.dubbing.pipeline import Corridor, DubbingPlan, FittedSegment
from octavia_stream.dubbing.progress import Emit, ProgressTracker
from octavia_stream.dubbing.speech_spool import SpeechSpool
from octavia_stream.errors import NoSpeech
from octavia_stream.events.event import Analysed, Warned
from octavia_stream.languages import Language, language_name
from octavia_stream.media.demuxer import DecodeReport, Demuxer
from octavia_stream.media.info import AudioTrack, MediaInfo
from octavia_stream.media.muxer import Muxer, MuxPlan, MuxResult, SubtitleTrack
from octavia_stream.mt.routes import Route
from octavia_stream.tts.voice import Voice
from octavia_stream.vad.detector import SpeechDetector

MAX_GAIN_DB = 24.0
"""A whisper in the original does not make the dub whisper; a shout in the dub is no answer to noise."""
LOUDNESS_SPREAD_LU = 6.0
"""How far one sentence may lie from the speech of the whole file."""
NOTABLE_GAP_S = 0.05
"""Shorter gaps in the timestamps are rounding."""
SPEECH_STAGES: tuple[Stage, ...] = ("transcribe", "translate", "synthesize")
DEFAULT_LOUDNESS_LUFS = -23.0
"""EBU R128, for speech in an original that cannot be measured."""


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
    window_chunks: int = 4


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
        async with demuxer as sound:
            fitted = await corridor.run(sound, listener, spool)
            decoded = demuxer.report
        language = corridor.source_language
        if language is None or not fitted:
            raise NoSpeech("No speech was found in this file, so there is nothing to dub.")
        if decoded.errors or decoded.truncated:
            emit(Warned("damaged_media", "Parts of the file are damaged; what could be read of it is dubbed."))
        elif decoded.filled > decoded.source_rate_hz * NOTABLE_GAP_S:
            gap_s = decoded.filled / decoded.source_rate_hz
            emit(Warned("missing_sound", f"The sound has gaps of {gap_s:.1f} s in all; they are silent in the dub."))
        for stage in SPEECH_STAGES:
            progress.ended(stage)
        source_cues, target_cues = _captions(fitted, listener.length)
        assembly = _Assembly(request, language, fitted, spool, contour, progress, decoded)
        muxed = await assembly.run(source_cues, target_cues)
        progress.ended("assemble")
    for warning in muxed.warnings:
        emit(Warned("muxing", warning))
    fit = report([(item.segment.placement, item.segment.slot) for item in fitted])
    return DubResult(language, fitted, source_cues, target_cues, fit, muxed)


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
        chunks_in_flight=request.window_chunks,
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


class _Assembly:
    """The last stage: original and speech into one track, beside the untouched picture."""

    def __init__(
        self,
        request: DubRequest,
        source_language: Language,
        fitted: list[FittedSegment],
        spool: SpeechSpool,
        contour: LoudnessContour,
        progress: ProgressTracker,
        decoded: DecodeReport,
    ) -> None:
        self._decoded = decoded
        self._request = request
        self._source_language = source_language
        self._fitted = fitted
        self._spool = spool
        self._contour = contour
        self._progress = progress
        self._rate_hz = request.track.rate_hz
        self._channels = min(request.track.channels, 2)

    async def run(self, source_cues: list[Cue], target_cues: list[Cue]) -> MuxResult:
        request = self._request
        plan = self._mux_plan(source_cues, target_cues)
        original = Demuxer(
            request.source, request.track, rate_hz=self._rate_hz, channels=self._channels, settings=request.media
        )
        written = 0
        async with original, Muxer(request.source, request.output, plan, request.media) as muxer:
            async for block in mix(original, self._clips(), self._ducking()):
                await muxer.write(block)
                written += len(block)
                self._progress.finished("assemble", 0, round(written * ASR_RATE_HZ / self._rate_hz))
            return await muxer.close()

    def _mux_plan(self, source_cues: list[Cue], target_cues: list[Cue]) -> MuxPlan:
        request = self._request
        target, source = language_name(request.target_language), language_name(self._source_language)
        subtitles = (
            SubtitleTrack(request.target_language, target, target_cues),
            SubtitleTrack(self._source_language, source, source_cues),
        )
        return MuxPlan(
            container=request.container,
            rate_hz=self._rate_hz,
            channels=self._channels,
            language=request.target_language,
            title=f"{target} (dubbed)",
            source_track=request.track,
            keep_original=request.keep_original_track,
            original_title=f"{source} (original)",
            length=self._decoded.source_length,
            subtitles=subtitles if request.info.video is not None else (),
        )

    def _at_rate(self, position: int) -> int:
        return round(position * self._rate_hz / ASR_RATE_HZ)

    def _ducking(self) -> Ducking:
        spans = [
            (self._at_rate(span[0]), self._at_rate(span[1]))
            for item in self._fitted
            for span in (
                (item.segment.sentence.start, item.segment.sentence.end),
                (item.segment.placement.start, item.segment.placement.end),
            )
        ]
        return Ducking(spans, self._request.original_gain_db, self._rate_hz)

    def _clips(self) -> Iterator[Clip]:
        usual = self._usual_loudness()
        for item in self._fitted:
            speech = resample(self._spool.read(item.speech), self._rate_hz)
            if speech.length:
                gain = self._gain(item, speech, usual)
                yield Clip(self._at_rate(item.segment.placement.start), speech.samples * gain)

    def _usual_loudness(self) -> float:
        measured = sorted(
            loudness
            for item in self._fitted
            if (loudness := self._contour.loudness(item.segment.sentence.start, item.segment.sentence.end))
            > SILENCE_LUFS
        )
        return measured[len(measured) // 2] if measured else DEFAULT_LOUDNESS_LUFS

    def _gain(self, item: FittedSegment, speech: AudioChunk, usual: float) -> float:
        """What makes the dub of a sentence as loud as the sentence was."""
        sentence = item.segment.sentence
        original = self._contour.loudness(sentence.start, sentence.end)
        wanted = min(max(original, usual - LOUDNESS_SPREAD_LU), usual + LOUDNESS_SPREAD_LU)
        gain_db = wanted - speech_loudness(speech.samples, speech.rate_hz)
        return float(10 ** (min(gain_db, MAX_GAIN_DB) / 20))
