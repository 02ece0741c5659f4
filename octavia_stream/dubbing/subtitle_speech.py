"""A subtitle file, spoken: each sentence where its cues stand, fitted as in a dub."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.captions.cues import Cue, SpokenText, make_cues
from octavia_stream.captions.subtitle_file import SubtitleFile
from octavia_stream.channel import Channel
from octavia_stream.config import MediaSettings
from octavia_stream.dubbing.assembly import Assembly, AssemblyPlan
from octavia_stream.dubbing.checkpoints import Checkpoints, Stage
from octavia_stream.dubbing.cue_sentences import CueSentence, cue_sentences, new_texts, share_out
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.glossary import NO_GLOSSARY, Glossary
from octavia_stream.dubbing.isochrony import FitReport, report, segment_fit
from octavia_stream.dubbing.lines import SentenceBatch, SlottedSentence
from octavia_stream.dubbing.loudness import LoudnessContour
from octavia_stream.dubbing.once import Once
from octavia_stream.dubbing.plan import DubbingPlan
from octavia_stream.dubbing.progress import Emit, ProgressTracker
from octavia_stream.dubbing.segment import Sentence, Slot
from octavia_stream.dubbing.speaking import FittedSegment, Speaking
from octavia_stream.dubbing.speech_spool import SpeechSpool
from octavia_stream.errors import SubtitlesRejected
from octavia_stream.events.event import Analysed, Warned
from octavia_stream.languages import Language
from octavia_stream.media.demuxer import DecodeReport, Demuxer
from octavia_stream.media.info import AudioTrack
from octavia_stream.media.muxer import MuxResult
from octavia_stream.mt.routes import Route
from octavia_stream.tts.voice import Voice

WEIGHTS: dict[Stage, float] = {"translate": 0.03, "synthesize": 0.87, "assemble": 0.1}
"""Shares of the work, as `progress.WEIGHTS` has them for a dub."""
BATCH_SENTENCES = 8


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """What to speak, over what, and into what."""

    file: SubtitleFile
    source: Path
    """The media that the speech is laid over; a file of silence when there is none."""
    track: AudioTrack
    output: Path
    container: str
    scratch: Path
    source_language: Language
    route: Route
    voice: Voice
    fingerprints: Mapping[Stage, str]
    media: MediaSettings
    original_gain_db: float | None = -24.0
    keep_original_track: bool = True
    attempts: int = 3
    glossary: Glossary = NO_GLOSSARY

    @property
    def target_language(self) -> Language:
        return self.voice.language


@dataclass(frozen=True, slots=True)
class SpeechResult:
    """A finished file."""

    fit: FitReport
    muxed: MuxResult
    texts: list[list[str]] | None
    """What was said, passage by passage, as `SubtitleFile.rewritten` takes it; None when not all of it was."""


async def speak_subtitles(
    request: SpeechRequest, engines: Engines, checkpoints: Checkpoints, emit: Emit
) -> SpeechResult:
    """Raises SubtitlesRejected, MediaRejected, and what the engines raise when retries do not help."""
    cued = await asyncio.to_thread(cue_sentences, request.file.cues, request.source_language)
    contour, decoded, length = await _measured(request)
    sentences = _on_the_track(cued, request, length)
    if not sentences:
        raise SubtitlesRejected("All subtitles stand after the end of the media, so there is nothing to say.")
    if len(sentences) < len(cued):
        late = len(cued) - len(sentences)
        emit(Warned("after_the_end", f"Sentences after the end of the media are not spoken: {late}."))
    emit(Analysed(length / ASR_RATE_HZ, request.source_language, request.target_language, request.voice.id))
    progress = ProgressTracker(emit, length, weights=WEIGHTS)
    speaking = Speaking(
        _plan(request), lambda _: request.route, engines, Once(checkpoints, request.attempts), progress.lane(0), emit
    )
    with SpeechSpool(request.scratch / "speech.pcm") as spool:
        batches: Channel[SentenceBatch] = Channel(4)
        async with asyncio.TaskGroup() as group:
            group.create_task(_send(sentences, length, batches, progress))
            fitting = group.create_task(speaking.run(batches, lambda: length, spool))
        fitted = fitting.result()
        for stage in ("translate", "synthesize"):
            progress.ended(stage)
        assembly = Assembly(_assembly_plan(request, decoded), fitted, spool, contour, progress.lane(0))
        heard, cues = _captions(request, fitted, length)
        muxed = await assembly.run(heard, cues)
        progress.ended("assemble")
    for warning in muxed.warnings:
        emit(Warned("muxing", warning))
    fit = report([segment_fit(item.segment) for item in fitted])
    return SpeechResult(fit, muxed, _said(request, cued, fitted))


def _said(
    request: SpeechRequest, cued: Sequence[CueSentence], fitted: Sequence[FittedSegment]
) -> list[list[str]] | None:
    if len(fitted) < len(cued):
        return None
    spoken = {item.segment.sentence.index: item.segment.text for item in fitted}
    shares = share_out(cued, [spoken[index] for index in range(len(cued))], request.target_language)
    return new_texts(request.file.cues, shares)


async def _measured(request: SpeechRequest) -> tuple[LoudnessContour, DecodeReport, int]:
    """How loud the original is, how it was read, and its length in samples at 16 kHz."""
    contour = LoudnessContour(ASR_RATE_HZ)
    length = 0
    demuxer = Demuxer(request.source, request.track, rate_hz=ASR_RATE_HZ, channels=1, settings=request.media)
    async with demuxer as sound:
        async for block in sound:
            await asyncio.to_thread(contour.push, block.samples)
            length = block.end
    return contour, demuxer.report, length


def _on_the_track(cued: Sequence[CueSentence], request: SpeechRequest, length: int) -> list[Sentence]:
    """Sentences on the sound track's own timeline, in order of time. Indexes are those of `cued`."""
    origin = round(request.track.start_s * ASR_RATE_HZ)
    sentences = [
        Sentence(index, one.text, request.source_language, max(one.start - origin, 0), max(one.end - origin, 0))
        for index, one in enumerate(cued)
        if one.start - origin < length
    ]
    return sorted(sentences, key=lambda sentence: (sentence.start, sentence.index))


async def _send(
    sentences: Sequence[Sentence], length: int, outbox: Channel[SentenceBatch], progress: ProgressTracker
) -> None:
    ends = [*(following.start for _, following in pairwise(sentences)), length]
    slotted = [
        SlottedSentence(sentence, Slot(sentence.start, max(end, sentence.start)))
        for sentence, end in zip(sentences, ends, strict=True)
    ]
    progress.expect("translate", len(slotted), final=True)
    progress.expect("synthesize", len(slotted), final=True)
    for index, start in enumerate(range(0, len(slotted), BATCH_SENTENCES)):
        await outbox.send(SentenceBatch(index, tuple(slotted[start : start + BATCH_SENTENCES])))
    await outbox.close()


def _plan(request: SpeechRequest) -> DubbingPlan:
    return DubbingPlan(
        source_language=request.source_language,
        target_language=request.target_language,
        voice=request.voice,
        route=lambda _: request.route,
        fingerprints=request.fingerprints,
        attempts=request.attempts,
        glossary=request.glossary,
    )


def _assembly_plan(request: SpeechRequest, decoded: DecodeReport) -> AssemblyPlan:
    return AssemblyPlan(
        source=request.source,
        track=request.track,
        decoded=decoded,
        output=request.output,
        container=request.container,
        source_language=request.source_language,
        target_language=request.target_language,
        media=request.media,
        original_gain_db=request.original_gain_db,
        keep_original_track=request.keep_original_track,
    )


def _captions(
    request: SpeechRequest, fitted: Sequence[FittedSegment], length: int
) -> tuple[dict[Language, list[Cue]], list[Cue]]:
    """Soft subtitles: those of the file's own language only when another is spoken."""
    end_s = length / ASR_RATE_HZ
    said = [
        SpokenText(
            item.segment.placement.start / ASR_RATE_HZ, item.segment.placement.end / ASR_RATE_HZ, item.segment.text
        )
        for item in fitted
    ]
    read = [
        SpokenText(sentence.start / ASR_RATE_HZ, sentence.end / ASR_RATE_HZ, sentence.text)
        for sentence in (item.segment.sentence for item in fitted)
    ]
    translated = request.source_language != request.target_language
    return {request.source_language: make_cues(read, end_s)} if translated else {}, make_cues(said, end_s)
