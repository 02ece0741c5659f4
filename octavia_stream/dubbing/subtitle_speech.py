"""A subtitle file, spoken: each sentence where its cues stand, fitted as in a dub."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.captions.subtitle_file import SubtitleFile
from octavia_stream.channel import Channel
from octavia_stream.dubbing.batch import (
    DubRequest,
    DubResult,
    SpokenFile,
    finished_dub,
    open_spools,
    plan_of,
    put_together,
)
from octavia_stream.dubbing.checkpoints import Checkpoints, Stage
from octavia_stream.dubbing.cue_sentences import CueSentence, cue_sentences, new_texts, share_out
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.lines import SentenceBatch, SlottedSentence
from octavia_stream.dubbing.loudness import LoudnessContour
from octavia_stream.dubbing.manuscript import HeardFor
from octavia_stream.dubbing.once import Once
from octavia_stream.dubbing.progress import Emit, ProgressTracker
from octavia_stream.dubbing.segment import Sentence, Slot
from octavia_stream.dubbing.speaking import FittedSegment, Speaking
from octavia_stream.dubbing.speech_spool import SpeechSpool
from octavia_stream.errors import SubtitlesRejected
from octavia_stream.events.event import Analysed, Warned
from octavia_stream.languages import Language
from octavia_stream.media.demuxer import DecodeReport, Demuxer
from octavia_stream.mt.routes import Route

WEIGHTS: dict[Stage, float] = {"translate": 0.03, "synthesize": 0.87, "assemble": 0.1}
"""Shares of the work, as `progress.WEIGHTS` has them for a dub."""
BATCH_SENTENCES = 8


class SubtitleSpeech:
    """Speaks one subtitle file over some media. Use once."""

    def __init__(
        self,
        file: SubtitleFile,
        language: Language,
        request: DubRequest,
        engines: Engines,
        checkpoints: Checkpoints,
        emit: Emit,
    ) -> None:
        """
        language: of the file. request: into one language, of media that may be silence; its route goes from text, and
        nothing is heard again.
        """
        self._file = file
        self._language = language
        self._request = request
        self._engines = engines
        self._checkpoints = checkpoints
        self._emit = emit

    async def run(self) -> DubResult:
        """Raises UnsupportedLanguage, SubtitlesRejected, MediaRejected, and what the engines raise after retries."""
        request, emit = self._request, self._emit
        [target] = request.targets
        # Who cannot be translated for is told before minutes of media are read.
        route = request.route(self._language, target.language)
        cued = await self._sentences()
        contour, decoded, length = await _measured(request)
        sentences = _on_the_track(cued, self._language, request.track.start_s, length)
        if not sentences:
            raise SubtitlesRejected("All subtitles stand after the end of the media, so there is nothing to say.")
        if len(sentences) < len(cued):
            late = len(cued) - len(sentences)
            emit(Warned("after_the_end", f"Sentences after the end of the media are not spoken: {late}."))
        emit(Analysed(length / ASR_RATE_HZ, self._language, target.language, target.voice.id))
        progress = ProgressTracker(emit, length, weights=WEIGHTS)
        with open_spools(request) as spools:
            fitted = await self._spoken(sentences, route, length, spools[0], progress)
            heard = HeardFor("transcribe", self._language, (target.language,), len(cued))
            spoken = SpokenFile(self._language, length, decoded, contour, [fitted], spools, [heard])
            dubs = await put_together(request, spoken, self._engines, progress, emit)
        return await finished_dub(request, spoken, dubs, progress, emit)

    async def _spoken(
        self,
        sentences: Sequence[Sentence],
        route: Route,
        length: int,
        spool: SpeechSpool,
        progress: ProgressTracker,
    ) -> list[FittedSegment]:
        request = self._request
        [target] = request.targets
        once = Once(self._checkpoints, request.attempts)
        plan = plan_of(request, target, lambda _: route)
        speaking = Speaking(plan, lambda _: route, self._engines, once, progress.lane(0), self._emit)
        batches: Channel[SentenceBatch] = Channel(plan.chunks_in_flight)
        async with asyncio.TaskGroup() as group:
            group.create_task(_send(sentences, length, batches, progress))
            fitting = group.create_task(speaking.run(batches, lambda: length, spool))
        for stage in ("translate", "synthesize"):
            progress.ended(stage)
        return fitting.result()

    async def texts(self, result: DubResult) -> list[list[str]] | None:
        """What is said, passage by passage, as `SubtitleFile.rewritten` takes it.

        None when that is not what stands in the file: some of it is not said, or at other times.
        """
        [dub] = result.dubs
        cued = await self._sentences()
        wanted = _on_the_track(cued, self._language, self._request.track.start_s, result.manuscript.length)
        said = {item.segment.sentence.index: item.segment for item in dub.segments}
        there = {(one.sentence.index, one.sentence.start, one.sentence.end) for one in said.values()}
        if len(wanted) < len(cued) or there != {(one.index, one.start, one.end) for one in wanted}:
            return None
        shares = share_out(cued, [said[index].text for index in range(len(cued))], dub.target.language)
        return new_texts(self._file.cues, shares)

    async def _sentences(self) -> list[CueSentence]:
        return await asyncio.to_thread(cue_sentences, self._file.cues, self._language)


async def _measured(request: DubRequest) -> tuple[LoudnessContour, DecodeReport, int]:
    """How loud the original is, how it was read, and its length in samples at 16 kHz."""
    contour = LoudnessContour(ASR_RATE_HZ)
    length = 0
    demuxer = Demuxer(request.source, request.track, rate_hz=ASR_RATE_HZ, channels=1, settings=request.media)
    async with demuxer as sound:
        async for block in sound:
            await asyncio.to_thread(contour.push, block.samples)
            length = block.end
    return contour, demuxer.report, length


def _on_the_track(cued: Sequence[CueSentence], language: Language, start_s: float, length: int) -> list[Sentence]:
    """Sentences on a sound track's own timeline, in order of time. Indexes are those of `cued`.

    start_s: of the track in its file. length: of the sound, in samples at 16 kHz.
    """
    origin = round(start_s * ASR_RATE_HZ)
    sentences = [
        Sentence(index, one.text, language, max(one.start - origin, 0), max(one.end - origin, 0))
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
