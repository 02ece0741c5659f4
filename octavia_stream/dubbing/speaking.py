"""The corridor's second half: sentences with slots in, fitted speech out."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.audio.stretching import stretch
from octavia_stream.channel import Channel
from octavia_stream.dubbing.digest import digest
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.isochrony import Timeline, choose, fits
from octavia_stream.dubbing.lines import Line, SentenceBatch, SlottedSentence, SpokenBy, SpokenLine
from octavia_stream.dubbing.once import Once
from octavia_stream.dubbing.plan import DubbingPlan
from octavia_stream.dubbing.progress import Emit, Finished
from octavia_stream.dubbing.segment import DubbedSegment, Placement
from octavia_stream.dubbing.speech_spool import SpeechSpool, SpooledSpeech, from_int16, to_int16
from octavia_stream.dubbing.stage import run_stage
from octavia_stream.errors import EngineUnavailable
from octavia_stream.events.event import SegmentDubbed, Warned
from octavia_stream.languages import Language
from octavia_stream.mt.routes import Route
from octavia_stream.mt.translator import Hypothesis, Translation

ALTERNATIVES = 4
"""Hypotheses asked for when the best one is too long for its slot."""
TRIM_FADE_S = 0.05


@dataclass(frozen=True, slots=True)
class FittedSegment:
    """A finished segment and where its sound lies."""

    segment: DubbedSegment
    speech: SpooledSpeech


class Speaking:
    """Translates, speaks and fits the sentences of one file. Use once."""

    def __init__(
        self,
        plan: DubbingPlan,
        route: Callable[[Language], Route | None],
        engines: Engines,
        once: Once,
        progress: Finished,
        emit: Emit,
    ) -> None:
        """route: from a language that is spoken; asked with every batch, for it may be known only then."""
        self._plan = plan
        self._route = route
        self._engines = plan.glossary.over(engines, plan.target_language, emit)
        self._translates_as = plan.fingerprints["translate"] + plan.glossary.translation_digest(plan.target_language)
        self._usual = SpokenBy(plan.voice, plan.fingerprints["synthesize"])
        self._pronounced_as = plan.glossary.speech_digest(plan.target_language)
        self._once = once
        self._progress = progress
        self._emit = emit

    async def run(
        self,
        batches: Channel[SentenceBatch],
        end: Callable[[], int | None],
        spool: SpeechSpool,
        told: Callable[[FittedSegment], None] | None = None,
    ) -> list[FittedSegment]:
        """Everything that comes until `batches` closes, in order of time.

        end: where the media ends, in samples at 16 kHz, where even the last word must stop; None while not known.
        told: is called with each segment as soon as its sound is in the spool.
        """
        plan = self._plan
        translated: Channel[list[Line]] = Channel(plan.chunks_in_flight)
        lines: Channel[Line] = Channel(plan.lines_in_flight)
        spoken: Channel[SpokenLine] = Channel(plan.lines_in_flight)
        async with asyncio.TaskGroup() as group:
            group.create_task(run_stage(batches, translated, self._translate, plan.chunks_in_flight))
            group.create_task(_spread(translated, lines))
            group.create_task(run_stage(lines, spoken, self._synthesize, plan.lines_in_flight))
            fitting = group.create_task(self._fit(spoken, end, spool, told))
        return fitting.result()

    async def _translate(self, batch: SentenceBatch) -> list[Line]:
        texts = [item.sentence.text for item in batch.sentences]
        route = self._route(batch.language)
        if batch.written or route is None or not route.hops:
            translations = [Translation(text, (Hypothesis(text, 0.0),)) for text in texts]
        else:
            source = route.text_source
            rooms = [item.slot.length for item in batch.sentences]
            voice = self._plan.voice
            fingerprint = " ".join(hop.model_id for hop in route.hops) + self._translates_as
            key = digest(source, self._plan.target_language, fingerprint, voice.characters_per_second, *texts, *rooms)
            translations = await self._once(
                "translate", batch.index, key, list[Translation], lambda: self._ask_translator(batch, source)
            )
        self._progress.finished("translate", len(texts), batch.sentences[-1].sentence.end)
        return [self._line(item, translation) for item, translation in zip(batch.sentences, translations, strict=True)]

    async def _ask_translator(self, batch: SentenceBatch, source: Language) -> list[Translation]:
        """The best translation of each, and alternatives where the best one is too long for its slot."""
        target, voice = self._plan.target_language, self._plan.voice
        translator = self._engines.translator
        texts = [item.sentence.text for item in batch.sentences]
        translations = await translator.translate(texts, source, target)
        tight = [
            index
            for index, item in enumerate(batch.sentences)
            if not fits(translations[index].best.text, item.slot, voice)
        ]
        if tight:
            others = await translator.translate([texts[index] for index in tight], source, target, ALTERNATIVES)
            for index, other in zip(tight, others, strict=True):
                translations[index] = other
        return translations

    def _line(self, item: SlottedSentence, translation: Translation) -> Line:
        given = item.given
        if given is None:
            text, speed, forecast = choose(translation.hypotheses, item.slot, self._plan.voice)
            return Line(item.sentence, item.slot, text, speed, self._usual, forecast)
        hypotheses = translation.hypotheses if given.text is None else (Hypothesis(given.text, 0.0),)
        text, speed, forecast = choose(hypotheses, item.slot, given.by.voice)
        if given.speed is not None:
            speed, forecast = given.speed, given.forecast
        return Line(item.sentence, item.slot, text, speed, given.by, forecast, given.kept_original, given.told)

    async def _synthesize(self, line: Line) -> SpokenLine:
        if line.kept_original:
            return self._silent(line)
        key = digest(line.text, line.by.voice.id, line.speed, line.by.fingerprint + self._pronounced_as)
        index = line.sentence.index
        try:
            stored = await self._once("synthesize", index, key, StoredSpeech, lambda: self._ask_voice(line))
        except EngineUnavailable:
            if not self._plan.keep_original:
                raise
            return self._unspoken(line)
        self._progress.finished("synthesize", 1, line.sentence.end)
        samples = from_int16(np.frombuffer(stored.pcm, dtype="<i2"))
        return SpokenLine(line, AudioChunk(samples, stored.rate_hz))

    def _unspoken(self, line: Line) -> SpokenLine:
        """A line that engines fail at again and again stays as it was."""
        at_s = line.sentence.start / ASR_RATE_HZ
        self._emit(
            Warned("not_spoken", f"The sentence at {at_s:.1f} s could not be spoken; the original is kept there.")
        )
        return self._silent(line)

    def _silent(self, line: Line) -> SpokenLine:
        self._progress.finished("synthesize", 1, line.sentence.end)
        return SpokenLine(line, AudioChunk(np.zeros(0, np.float32), ASR_RATE_HZ), kept_original=True)

    async def _ask_voice(self, line: Line) -> "StoredSpeech":
        speech = await self._engines.synthesizer.synthesize(line.text, line.by.voice, line.speed)
        return StoredSpeech(speech.rate_hz, to_int16(speech.samples).tobytes())

    async def _fit(
        self,
        inbox: Channel[SpokenLine],
        end: Callable[[], int | None],
        spool: SpeechSpool,
        told: Callable[[FittedSegment], None] | None,
    ) -> list[FittedSegment]:
        fitted: list[FittedSegment] = []
        timeline = Timeline()
        async for spoken in inbox:
            line = spoken.line
            natural = -(-spoken.speech.length * ASR_RATE_HZ // spoken.speech.rate_hz)
            # The file's end is known only when all of it was heard; the last slot ends there.
            if spoken.kept_original:
                # The text is shown where the original says it.
                natural = max(line.sentence.end - line.sentence.start, 0)
            placement = timeline.place(natural, line.slot, end())
            speech = spoken.speech
            if not spoken.kept_original:
                speech = await asyncio.to_thread(_shape, spoken.speech, natural, placement)
            segment = DubbedSegment(
                line.sentence,
                line.text,
                line.by.voice,
                line.slot,
                line.speed,
                placement,
                spoken.kept_original,
                line.forecast,
            )
            fitted.append(FittedSegment(segment, spool.append(speech)))
            if told is not None:
                told(fitted[-1])
            if not line.told:
                self._emit(_event(segment))
        return fitted


class StoredSpeech(msgspec.Struct, frozen=True):
    """Speech as a checkpoint keeps it: mono 16-bit little-endian samples."""

    rate_hz: int
    pcm: bytes


async def _spread(inbox: Channel[list[Line]], outbox: Channel[Line]) -> None:
    async for lines in inbox:
        for line in lines:
            await outbox.send(line)
    await outbox.close()


def _shape(speech: AudioChunk, natural: int, placement: Placement) -> AudioChunk:
    """Stretch and trim speech to its placement, at its own rate."""
    shaped = speech
    if placement.tempo != 1.0:
        shaped = stretch(speech, (placement.length + placement.trimmed) / natural)
    if placement.trimmed:
        kept = placement.length * speech.rate_hz // ASR_RATE_HZ
        samples = shaped.samples[:kept].copy()
        fade = min(round(TRIM_FADE_S * speech.rate_hz), kept)
        samples[kept - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
        shaped = AudioChunk(samples, speech.rate_hz)
    return shaped


def _event(segment: DubbedSegment) -> SegmentDubbed:
    return SegmentDubbed(
        index=segment.sentence.index,
        start_s=segment.placement.start / ASR_RATE_HZ,
        end_s=segment.placement.end / ASR_RATE_HZ,
        source=segment.sentence.text,
        text=segment.text,
        language=segment.voice.language,
    )
