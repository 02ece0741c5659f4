"""One file, door to door: demux, dub, mix, mux; into one language, or several that share what was heard."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.captions.cues import USUAL, Cue, CueRules, SpokenText, make_cues
from octavia_stream.config import MediaSettings
from octavia_stream.dubbing.assembly import Assembly, AssemblyPlan, Revision, mixed_channels
from octavia_stream.dubbing.audition import UNHEARD, Audition, AuditionPlan, Impression, auditioning
from octavia_stream.dubbing.checkpoints import Checkpoints, Stage
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.glossary import NO_GLOSSARY, Glossary
from octavia_stream.dubbing.isochrony import FitReport, report, segment_fit
from octavia_stream.dubbing.listening import Listener
from octavia_stream.dubbing.loudness import LoudnessContour, integrated
from octavia_stream.dubbing.manuscript import HeardFor, Manuscript
from octavia_stream.dubbing.pipeline import Corridor, DubbingPlan, FittedSegment
from octavia_stream.dubbing.progress import DRAWING, WEIGHTS, Emit, ProgressTracker
from octavia_stream.dubbing.segment import SegmentFit
from octavia_stream.dubbing.speech_spool import SpeechSpool
from octavia_stream.dubbing.streaming import FinalTimeline, StreamPlan, StreamStore, streaming
from octavia_stream.errors import MediaRejected, MediaTooLarge, NoSpeech
from octavia_stream.events.event import Analysed, Warned
from octavia_stream.languages import Language, language_name
from octavia_stream.media.burner import burn_in
from octavia_stream.media.demuxer import DecodeReport, Demuxer
from octavia_stream.media.info import AudioTrack, MediaInfo
from octavia_stream.media.muxer import MuxResult
from octavia_stream.mt.routes import Route
from octavia_stream.telemetry.metrics import STAGE, STAGE_MEDIA
from octavia_stream.tts.voice import Voice
from octavia_stream.vad.detector import SpeechDetector

NOTABLE_GAP_S = 0.05
"""Shorter gaps in the timestamps are rounding."""
LINES_IN_FLIGHT = 8
"""Sentences that are spoken at once, over all languages of a job."""
SPEECH_STAGES: tuple[Stage, ...] = ("transcribe", "translate", "synthesize")


@dataclass(frozen=True, slots=True)
class DubTarget:
    """One language to dub into."""

    voice: Voice
    output: Path
    """Where the result goes; its folder exists."""
    fingerprints: Mapping[Stage, str]
    earlier: Path | None = None
    """Where an edit finds the file that it is an edit of, if it can be had: most of its sound is taken over."""

    @property
    def language(self) -> Language:
        return self.voice.language


@dataclass(frozen=True, slots=True)
class DubRequest:
    """What to dub, and how."""

    source: Path
    info: MediaInfo
    track: AudioTrack
    targets: tuple[DubTarget, ...]
    """At least one, no language twice."""
    container: str
    scratch: Path
    """A folder for temporary files."""
    source_language: Language | None
    route: Callable[[Language, Language], Route]
    """From a spoken language to a target. Raises UnsupportedLanguage."""
    media: MediaSettings
    original_gain_db: float | None = -24.0
    """How loud the original stays under the dub; None: it is not heard at all, also between sentences."""
    keep_original_track: bool = True
    attempts: int = 3
    keep_original: bool = False
    """Whether what no engine can do is left as the original sound; else it ends the dub."""
    window_chunks: int = 4
    stream: StreamStore | None = None
    """Where to stream what is done already of the first language; None: nowhere."""
    stream_picture: bool = True
    stream_transcode: bool = False
    """Whether a picture that players do not take is encoded anew for the stream; else it is left out there."""
    glossary: Glossary = NO_GLOSSARY
    cue_rules: CueRules = USUAL
    burn_in: bool = False
    """Whether each dub is wanted once more, with its subtitles drawn into the picture."""
    audition: AuditionPlan = UNHEARD
    written: bool = False
    """Whether what is said in place of the original was written before, and not heard."""


@dataclass(frozen=True, slots=True)
class Dub:
    """A finished dub into one language."""

    target: DubTarget
    segments: list[FittedSegment]
    cues: list[Cue]
    fit: FitReport
    fits: list[SegmentFit]
    """What was done to each sentence, in order of time."""
    muxed: MuxResult
    impression: Impression
    burned: Path | None = None
    """The same with its subtitles in the picture, where that was asked for and could be done."""


@dataclass(frozen=True, slots=True)
class DubResult:
    """A finished file, in every language asked for."""

    source_language: Language
    source_cues: dict[Language, list[Cue]]
    """What was heard, as it was written down: in the language spoken, or in the one that recognition translated it
    into and that is not dubbed into."""
    dubs: list[Dub]
    """In the order asked."""
    original_lufs: float
    """Integrated loudness of what is dubbed, as one channel."""
    manuscript: Manuscript


@dataclass(frozen=True, slots=True)
class SpokenFile:
    """A file in which everything is spoken, and nothing put together."""

    source_language: Language
    length: int
    """Of its sound, in samples at 16 kHz."""
    decoded: DecodeReport
    contour: LoudnessContour
    fitted: Sequence[list[FittedSegment]]
    """By language, as in the request."""
    spools: Sequence[SpeechSpool]
    heard: Sequence[HeardFor]
    revisions: Mapping[Language, Revision] = field(default_factory=dict)
    """What was put together before, of dubs that are edited."""


async def dub_file(
    request: DubRequest, engines: Engines, detector: SpeechDetector, checkpoints: Checkpoints, emit: Emit
) -> DubResult:
    """Dub one file into `request.output`.

    Raises NoSpeech, MediaRejected, UnsupportedLanguage, and what the engines raise when retries do not help.
    """
    duration = round(request.info.duration_s * ASR_RATE_HZ)
    weights = WEIGHTS | DRAWING if request.burn_in else WEIGHTS
    progress = ProgressTracker(emit, duration, weights=weights, lanes=len(request.targets))
    contour = LoudnessContour(ASR_RATE_HZ)
    listener = Listener(detector, contour, progress, awaited=request.stream is not None)
    with open_spools(request) as spools:
        corridor = Corridor(_plans(request, emit), engines, checkpoints, progress, emit)
        demuxer = Demuxer(request.source, request.track, rate_hz=ASR_RATE_HZ, channels=1, settings=request.media)
        async with stream_of(request, spools[0], contour, lambda: corridor.source_language, emit) as timeline:
            async with demuxer as sound:
                fitted = await corridor.run(sound, listener, spools, timeline.add)
                decoded = demuxer.report
            timeline.end()
            language = corridor.source_language
            if language is None or not all(fitted):
                raise NoSpeech("No speech was found in this file, so there is nothing to dub.")
            _warn_of_damage(decoded, emit)
            for stage in SPEECH_STAGES:
                progress.ended(stage)
            heard = _heard_for(request, corridor, fitted)
            spoken = SpokenFile(language, listener.length, decoded, contour, fitted, spools, heard)
            dubs = await put_together(request, spoken, engines, progress, emit)
    return await finished_dub(request, spoken, dubs, progress, emit)


@contextmanager
def open_spools(request: DubRequest) -> Iterator[list[SpeechSpool]]:
    """Where fitted speech of each language waits."""
    with ExitStack() as opened:
        yield [
            opened.enter_context(SpeechSpool(request.scratch / f"speech-{target.language}.pcm"))
            for target in request.targets
        ]


def _heard_for(request: DubRequest, corridor: Corridor, fitted: Sequence[Sequence[FittedSegment]]) -> list[HeardFor]:
    by_task: dict[AsrTask, list[int]] = {}
    for number, route in enumerate(corridor.routes):
        by_task.setdefault(route.asr_task, []).append(number)
    return [
        HeardFor(
            task,
            fitted[numbers[0]][0].segment.sentence.language,
            tuple(request.targets[number].language for number in numbers),
            max(item.segment.sentence.index for item in fitted[numbers[0]]) + 1,
        )
        for task, numbers in by_task.items()
    ]


async def put_together(
    request: DubRequest, spoken: SpokenFile, engines: Engines, progress: ProgressTracker, emit: Emit
) -> list[Dub]:
    """Mix and mux every language."""
    end_s = spoken.length / ASR_RATE_HZ
    heard = _heard(request, spoken.source_language, spoken.fitted, end_s)
    dubs: list[Dub] = []
    for number, (target, segments) in enumerate(zip(request.targets, spoken.fitted, strict=True)):
        plan = _assembly_plan(request, target, spoken.source_language, spoken.decoded)
        said = _said(segments, end_s, request.cue_rules)
        async with auditioning(_audition(request, engines, target, segments, end_s)) as audition:
            lane, spool = progress.lane(number), spoken.spools[number]
            revision = spoken.revisions.get(target.language)
            assembly = Assembly(plan, segments, spool, spoken.contour, lane, audition, revision)
            dubs.append(await _assembled(target, segments, assembly, audition, heard, said, emit))
    progress.ended("assemble")
    return dubs


async def finished_dub(
    request: DubRequest, spoken: SpokenFile, dubs: list[Dub], progress: ProgressTracker, emit: Emit
) -> DubResult:
    """With subtitles drawn into the picture where that was asked for, and all that a later edit needs."""
    if request.burn_in:
        dubs = [await _burned(request, dub, progress, number, emit) for number, dub in enumerate(dubs)]
        progress.ended("draw")
    heard = _heard(request, spoken.source_language, spoken.fitted, spoken.length / ASR_RATE_HZ)
    loudness = integrated(spoken.contour.power())
    return DubResult(spoken.source_language, heard, dubs, loudness, _manuscript(request, spoken))


def _manuscript(request: DubRequest, spoken: SpokenFile) -> Manuscript:
    fitted = {target.language: segments for target, segments in zip(request.targets, spoken.fitted, strict=True)}
    power = spoken.contour.power().astype("<f8").tobytes()
    hearings = [heard.written(fitted) for heard in spoken.heard]
    return Manuscript(spoken.source_language, spoken.length, spoken.decoded, power, hearings)


def _audition(
    request: DubRequest, engines: Engines, target: DubTarget, segments: Sequence[FittedSegment], end_s: float
) -> Audition:
    plan = replace(request.audition, seed=f"{request.audition.seed} {target.language}")
    track = request.track
    spoken = [item.segment for item in segments]
    return Audition(plan, engines.transcriber, spoken, end_s, track.rate_hz, mixed_channels(track))


async def _assembled(
    target: DubTarget,
    segments: list[FittedSegment],
    assembly: Assembly,
    audition: Audition,
    heard: Mapping[Language, list[Cue]],
    cues: list[Cue],
    emit: Emit,
) -> Dub:
    with STAGE.labels("assemble").time():
        muxed = await assembly.run(heard, cues)
    STAGE_MEDIA.labels("assemble").inc(muxed.length / muxed.codec_rate_hz)
    for warning in muxed.warnings:
        emit(Warned("muxing", warning))
    fits = [segment_fit(item.segment) for item in segments]
    return Dub(target, segments, cues, report(fits), fits, muxed, await audition.impression())


async def _burned(request: DubRequest, dub: Dub, progress: ProgressTracker, number: int, emit: Emit) -> Dub:
    """The dub with what was drawn of it; without, and with a warning, where its picture is beyond that."""
    progress.expect("draw", 1, final=number == len(request.targets) - 1)
    lane = progress.lane(number)

    def reached(seconds: float) -> None:
        lane.finished("draw", 0, round(seconds * ASR_RATE_HZ))

    folder = request.scratch / "burned"
    folder.mkdir(exist_ok=True)
    start_s, length_s = request.track.start_s, dub.muxed.length / dub.muxed.codec_rate_hz
    try:
        with STAGE.labels("draw").time():
            path = await burn_in(dub.target.output, folder, dub.cues, start_s, length_s, request.media, reached)
    except (MediaRejected, MediaTooLarge) as error:
        emit(Warned("burn_in", f"No subtitles could be drawn into the picture: {error}"))
        return dub
    STAGE_MEDIA.labels("draw").inc(length_s)
    lane.finished("draw", 1, round(length_s * ASR_RATE_HZ))
    return replace(dub, burned=path)


def _warn_of_damage(decoded: DecodeReport, emit: Emit) -> None:
    if decoded.errors or decoded.truncated:
        emit(Warned("damaged_media", "Parts of the file are damaged; what could be read of it is dubbed."))
    elif decoded.filled > decoded.source_rate_hz * NOTABLE_GAP_S:
        gap_s = decoded.filled / decoded.source_rate_hz
        emit(Warned("missing_sound", f"The sound has gaps of {gap_s:.1f} s in all; they are silent in the dub."))


def stream_of(
    request: DubRequest,
    spool: SpeechSpool,
    contour: LoudnessContour,
    language: Callable[[], Language | None],
    emit: Emit,
) -> AbstractAsyncContextManager[FinalTimeline]:
    """The stream of the first language, if one is wanted. language: what is spoken, once it is known."""
    plan = StreamPlan(
        source=request.source,
        info=request.info,
        track=request.track,
        picture=request.stream_picture,
        target_language=request.targets[0].language,
        media=request.media,
        original_gain_db=request.original_gain_db,
        transcode=request.stream_transcode,
    )
    return streaming(plan, spool, contour, language, request.stream, emit)


def _plans(request: DubRequest, emit: Emit) -> list[DubbingPlan]:
    told: set[Language] = set()

    def route(target: Language, spoken: Language) -> Route:
        found = request.route(spoken, target)
        # Another language later in the file is asked for, too; the file is of the first.
        if target in told:
            return found
        told.add(target)
        if target == request.targets[0].language:
            emit(_analysed(request, spoken))
        if spoken == target:
            name = language_name(spoken)
            emit(Warned("same_language", f"The speech is already in {name}: it is spoken again, not translated."))
        return found

    return [plan_of(request, target, partial(route, target.language)) for target in request.targets]


def plan_of(request: DubRequest, target: DubTarget, route: Callable[[Language], Route]) -> DubbingPlan:
    """How to dub into one of the languages."""
    return DubbingPlan(
        source_language=request.source_language,
        target_language=target.language,
        voice=target.voice,
        route=route,
        fingerprints=target.fingerprints,
        attempts=request.attempts,
        keep_original=request.keep_original,
        chunks_in_flight=request.window_chunks,
        glossary=request.glossary,
        lines_in_flight=max(LINES_IN_FLIGHT // len(request.targets), 2),
    )


def _analysed(request: DubRequest, spoken: Language) -> Analysed:
    languages = ", ".join(target.language for target in request.targets)
    return Analysed(request.info.duration_s, spoken, languages, ", ".join(one.voice.id for one in request.targets))


def _assembly_plan(request: DubRequest, target: DubTarget, language: Language, decoded: DecodeReport) -> AssemblyPlan:
    return AssemblyPlan(
        source=request.source,
        track=request.track,
        decoded=decoded,
        output=target.output,
        container=request.container,
        source_language=language,
        target_language=target.language,
        media=request.media,
        original_gain_db=request.original_gain_db,
        keep_original_track=request.keep_original_track,
    )


def _heard(
    request: DubRequest, spoken: Language, fitted: Sequence[Sequence[FittedSegment]], end_s: float
) -> dict[Language, list[Cue]]:
    """Recognition that translates writes down another language than is spoken: that one is told, not the spoken one,
    and not at all when there is a dub in it anyway."""
    targets = {target.language for target in request.targets}
    heard: dict[Language, list[Cue]] = {}
    for segments in fitted:
        sentences = [item.segment.sentence for item in segments]
        language = sentences[0].language
        told = language == spoken and not request.written
        if language not in heard and (told or language not in targets):
            texts = ((sentence.start, sentence.end, sentence.text) for sentence in sentences)
            heard[language] = _cues(texts, end_s, request.cue_rules)
    return heard


def _said(segments: Sequence[FittedSegment], end_s: float, rules: CueRules) -> list[Cue]:
    placed = ((item.segment.placement, item.segment.text) for item in segments)
    return _cues(((placement.start, placement.end, text) for placement, text in placed), end_s, rules)


def _cues(texts: Iterable[tuple[int, int, str]], end_s: float, rules: CueRules) -> list[Cue]:
    """texts: with where they are heard, in samples at 16 kHz."""
    spoken = [SpokenText(start / ASR_RATE_HZ, end / ASR_RATE_HZ, text) for start, end, text in texts]
    return make_cues(spoken, end_s, rules)
