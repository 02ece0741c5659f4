"""A finished dub, edited: what was changed is translated and spoken, the rest is there; all is put together anew."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.channel import Channel
from octavia_stream.dubbing.batch import (
    DubRequest,
    DubResult,
    DubTarget,
    SpokenFile,
    finished_dub,
    open_spools,
    plan_of,
    put_together,
    stream_of,
)
from octavia_stream.dubbing.checkpoints import Checkpoints, Stage
from octavia_stream.dubbing.edits import Draft, DraftHearing, DraftLine
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.lines import Given, SentenceBatch, SlottedSentence, SpokenBy
from octavia_stream.dubbing.loudness import LoudnessContour
from octavia_stream.dubbing.manuscript import HeardFor, slots
from octavia_stream.dubbing.once import Once
from octavia_stream.dubbing.progress import DRAWING, SHARED_STAGES, WEIGHTS, Emit, ProgressTracker
from octavia_stream.dubbing.revising import revisions
from octavia_stream.dubbing.segment import NO_FORECAST, Sentence
from octavia_stream.dubbing.speaking import FittedSegment, Speaking
from octavia_stream.dubbing.speech_spool import SpeechSpool
from octavia_stream.dubbing.streaming import FinalTimeline
from octavia_stream.languages import Language

BATCH_SENTENCES = 32
_STAGES: tuple[Stage, ...] = ("translate", "synthesize")

VoiceOf = Callable[[Language, str], SpokenBy]
"""Who speaks a language under this id. Raises UnsupportedLanguage."""


async def redub_file(
    request: DubRequest, draft: Draft, voice_of: VoiceOf, engines: Engines, checkpoints: Checkpoints, emit: Emit
) -> DubResult:
    """Dub a file as `draft` says. What its checkpoints hold is not made again, and nobody listens to the file.

    request: as that of the dub; its route goes from text. Raises what `dub_file` raises, but NoSpeech.
    """
    manuscript = draft.of
    length, language = manuscript.length, manuscript.source_language
    weights = {stage: share for stage, share in WEIGHTS.items() if stage not in SHARED_STAGES}
    weights |= DRAWING if request.burn_in else {}
    progress = ProgressTracker(emit, length, weights=weights, lanes=len(request.targets))
    contour = LoudnessContour.of_power(np.frombuffer(manuscript.power, "<f8"), ASR_RATE_HZ)
    with open_spools(request) as spools:
        async with stream_of(request, spools[0], contour, lambda: language, emit) as timeline:
            respeaking = _Respeaking(request, draft, voice_of, engines, checkpoints, emit, progress)
            fitted = await respeaking.run(spools, timeline)
            timeline.end()
            for stage in _STAGES:
                progress.ended(stage)
            heard = [_heard_for(hearing) for hearing in draft.hearings]
            earlier = {target.language: target.earlier for target in request.targets if target.earlier is not None}
            by_language = {target.language: one for target, one in zip(request.targets, fitted, strict=True)}
            revised = revisions(manuscript, heard, by_language, earlier, contour)
            spoken = SpokenFile(language, length, manuscript.decoded, contour, fitted, spools, heard, revised)
            dubs = await put_together(request, spoken, engines, progress, emit)
    return await finished_dub(request, spoken, dubs, progress, emit)


class _Respeaking:
    """The corridor's second half, for every language of a draft. Use once."""

    def __init__(
        self,
        request: DubRequest,
        draft: Draft,
        voice_of: VoiceOf,
        engines: Engines,
        checkpoints: Checkpoints,
        emit: Emit,
        progress: ProgressTracker,
    ) -> None:
        self._request = request
        self._draft = draft
        self._voice_of = voice_of
        self._engines = engines
        self._once = Once(checkpoints, request.attempts)
        self._emit = emit
        self._progress = progress

    async def run(self, spools: Sequence[SpeechSpool], timeline: FinalTimeline) -> list[list[FittedSegment]]:
        """Each language's segments in order of time; the first language's are also told to the timeline."""
        async with asyncio.TaskGroup() as group:
            speaking = [
                group.create_task(self._speak(number, target, spools[number], None if number else timeline))
                for number, target in enumerate(self._request.targets)
            ]
        return [task.result() for task in speaking]

    async def _speak(
        self, number: int, target: DubTarget, spool: SpeechSpool, timeline: FinalTimeline | None
    ) -> list[FittedSegment]:
        hearing = next(one for one in self._draft.hearings if target.language in one.of.targets)
        spoken = {segment.language or hearing.of.language for segment in hearing.segments}
        routes = {language: self._request.route(language, target.language) for language in spoken}
        plan = plan_of(self._request, target, routes.__getitem__)
        lane = self._progress.lane(number)
        speaking = Speaking(plan, routes.__getitem__, self._engines, self._once, lane, self._emit)
        length = self._draft.of.length
        batches: Channel[SentenceBatch] = Channel(plan.chunks_in_flight)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send(hearing, target, batches))
            running = group.create_task(
                speaking.run(batches, lambda: length, spool, timeline.add if timeline is not None else None)
            )
        return running.result()

    async def _send(self, hearing: DraftHearing, target: DubTarget, outbox: Channel[SentenceBatch]) -> None:
        for stage in _STAGES:
            self._progress.expect(stage, len(hearing.segments), final=target is self._request.targets[-1])
        given = partial(_given, target.language, self._voice_of)
        for batch in _batches(hearing, self._draft.of.length, target.language, given):
            await outbox.send(batch)
        await outbox.close()


def _batches(
    hearing: DraftHearing, length: int, target: Language, given: Callable[[DraftLine], Given]
) -> Iterator[SentenceBatch]:
    """In order of time. What is to be translated comes alone, so that each has a checkpoint of its own."""
    written: list[SlottedSentence] = []
    for segment, slot in zip(hearing.segments, slots(hearing.segments, length), strict=True):
        sentence = Sentence(
            segment.id, segment.text, segment.language or hearing.of.language, segment.start, segment.end
        )
        slotted = SlottedSentence(sentence, slot, given(segment.lines[target]))
        fresh = segment.lines[target].text is None
        if written and (fresh or len(written) == BATCH_SENTENCES):
            yield SentenceBatch(written[0].sentence.index, tuple(written))
            written = []
        if fresh:
            yield SentenceBatch(segment.id, (slotted,))
        else:
            written.append(slotted)
    if written:
        yield SentenceBatch(written[0].sentence.index, tuple(written))


def _given(target: Language, voice_of: VoiceOf, line: DraftLine) -> Given:
    by = voice_of(target, line.voice)
    if line.kept is None:
        return Given(by, line.text, line.speed)
    forecast = line.kept.forecast if line.speed is not None else NO_FORECAST
    return Given(by, line.text, line.speed, forecast, line.kept.kept_original, told=line.speed is not None)


def _heard_for(hearing: DraftHearing) -> HeardFor:
    by_hand = {
        (language, segment.id)
        for segment in hearing.segments
        for language, line in segment.lines.items()
        if line.by_hand
    }
    of = hearing.of
    return HeardFor(of.task, of.language, of.targets, hearing.next_id, by_hand)
