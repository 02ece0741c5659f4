"""The corridor itself: sound in, fitted speech out, every stage busy at once and in order at the door."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np

from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.audio.stretching import stretch
from octavia_stream.channel import Channel
from octavia_stream.dubbing.checkpoints import Checkpoints, Stage
from octavia_stream.dubbing.digest import digest
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.isochrony import Timeline, choose_hypothesis, choose_speed, fits
from octavia_stream.dubbing.lines import Line, SentenceBatch, SlottedSentence, SpokenLine
from octavia_stream.dubbing.listening import Listener, SpeechChunk
from octavia_stream.dubbing.progress import Emit, ProgressTracker
from octavia_stream.dubbing.retrying import with_retries
from octavia_stream.dubbing.segment import DubbedSegment, Placement, Sentence, Slot
from octavia_stream.dubbing.sentences import SentenceAssembler
from octavia_stream.dubbing.speech_spool import SpeechSpool, SpooledSpeech, from_int16, to_int16
from octavia_stream.dubbing.stage import run_stage
from octavia_stream.events.event import SegmentDubbed
from octavia_stream.languages import Language
from octavia_stream.mt.routes import Route
from octavia_stream.mt.translator import Hypothesis, Translation
from octavia_stream.tts.voice import Voice

ALTERNATIVES = 4
"""Hypotheses asked for when the best one is too long for its slot."""
TRIM_FADE_S = 0.05

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DubbingPlan:
    """What to make, and of what."""

    source_language: Language | None
    """None lets the first chunk with words decide."""
    target_language: Language
    voice: Voice
    route: Callable[[Language], Route]
    """How to get from a spoken language to the target. Raises UnsupportedLanguage."""
    fingerprints: Mapping[Stage, str]
    """Which models do each stage's work, for the digests of checkpoints."""
    attempts: int = 3
    chunks_in_flight: int = 4
    lines_in_flight: int = 8


@dataclass(frozen=True, slots=True)
class FittedSegment:
    """A finished segment and where its sound lies."""

    segment: DubbedSegment
    speech: SpooledSpeech


@dataclass(frozen=True, slots=True)
class Heard:
    """A chunk's transcript and how far the timeline is known after it."""

    index: int
    transcript: Transcript
    final_until: int


class Corridor:
    """Takes one file's sound to fitted speech. Use once."""

    def __init__(
        self, plan: DubbingPlan, engines: Engines, checkpoints: Checkpoints, progress: ProgressTracker, emit: Emit
    ) -> None:
        self._plan = plan
        self._engines = engines
        self._checkpoints = checkpoints
        self._progress = progress
        self._emit = emit
        self._deciding_language = asyncio.Lock()
        self._language = plan.source_language
        self._route = plan.route(plan.source_language) if plan.source_language else None

    @property
    def source_language(self) -> Language | None:
        """What is spoken; None while nobody has said a word."""
        return self._language

    async def run(
        self, sound: AsyncIterator[AudioChunk], listener: Listener, spool: SpeechSpool
    ) -> list[FittedSegment]:
        """Dub everything; returns the segments in order of time. Raises what the first failing stage raised.

        sound: consecutive mono blocks at 16 kHz from position 0 on.
        """
        plan = self._plan
        chunks: Channel[SpeechChunk] = Channel(plan.chunks_in_flight)
        heard: Channel[Heard] = Channel(plan.chunks_in_flight)
        batches: Channel[SentenceBatch] = Channel(plan.chunks_in_flight)
        translated: Channel[list[Line]] = Channel(plan.chunks_in_flight)
        lines: Channel[Line] = Channel(plan.lines_in_flight)
        spoken: Channel[SpokenLine] = Channel(plan.lines_in_flight)
        async with asyncio.TaskGroup() as group:
            group.create_task(listener.listen(sound, chunks))
            group.create_task(run_stage(chunks, heard, self._transcribe, plan.chunks_in_flight))
            group.create_task(self._regroup(heard, batches, listener))
            group.create_task(run_stage(batches, translated, self._translate, plan.chunks_in_flight))
            group.create_task(_spread(translated, lines))
            group.create_task(run_stage(lines, spoken, self._synthesize, plan.lines_in_flight))
            fitting = group.create_task(self._fit(spoken, listener, spool))
        return fitting.result()

    async def _once(self, stage: Stage, index: int, key: str, payload: type[T], work: Callable[[], Awaitable[T]]) -> T:
        """Do a piece of work unless it was finished before under the same digest."""
        saved = await self._checkpoints.load(stage, index, key)
        if saved is not None:
            return msgspec.msgpack.decode(saved, type=payload)

        async def attempt() -> T:
            await self._checkpoints.begin(stage, index, key)
            return await work()

        result = await with_retries(attempt, self._plan.attempts)
        await self._checkpoints.save(stage, index, key, msgspec.msgpack.encode(result))
        return result

    async def _transcribe(self, chunk: SpeechChunk) -> Heard:
        transcript = await self._understand(chunk)
        self._progress.finished("transcribe", 1, chunk.final_until)
        return Heard(chunk.index, transcript, chunk.final_until)

    async def _understand(self, chunk: SpeechChunk) -> Transcript:
        async with self._deciding_language:
            if self._route is None:
                transcript = await self._ask_transcriber(chunk, None, "transcribe")
                if not transcript.words:
                    return transcript
                self._language = transcript.language
                self._route = self._plan.route(transcript.language)
                if self._route.asr_task == "transcribe":
                    return transcript
        return await self._ask_transcriber(chunk, self._language, self._route.asr_task)

    async def _ask_transcriber(self, chunk: SpeechChunk, language: Language | None, task: AsrTask) -> Transcript:
        fingerprint = self._plan.fingerprints["transcribe"]
        key = digest(to_int16(chunk.audio.samples).tobytes(), chunk.audio.offset, fingerprint, language, task)
        return await self._once(
            "transcribe",
            chunk.index,
            key,
            Transcript,
            lambda: self._engines.transcriber.transcribe(chunk.audio, language, task),
        )

    async def _regroup(self, inbox: Channel[Heard], outbox: Channel[SentenceBatch], listener: Listener) -> None:
        """Words become sentences across chunk borders; a sentence waits until the next one bounds its slot."""
        assembler: SentenceAssembler | None = None
        held: list[Sentence] = []
        async for heard in inbox:
            if assembler is None and heard.transcript.words:
                assembler = SentenceAssembler(heard.transcript.language)
            if assembler is None:
                continue
            held += assembler.push(heard.transcript.words, heard.final_until)
            if len(held) > 1:
                await self._send_batch(heard.index, held[:-1], held[-1].start, outbox)
                held = held[-1:]
        if assembler is not None:
            held += assembler.finish()
            end = max(listener.length, held[-1].end if held else 0)
            # One past every chunk: the sentences that only the end of the file completes.
            await self._send_batch(listener.chunks, held, end, outbox)
        self._progress.expect("translate", 0, final=True)
        self._progress.expect("synthesize", 0, final=True)
        await outbox.close()

    async def _send_batch(
        self, index: int, sentences: list[Sentence], end: int, outbox: Channel[SentenceBatch]
    ) -> None:
        if not sentences:
            return
        ends = [*(sentence.start for sentence in sentences[1:]), end]
        slotted = tuple(
            SlottedSentence(sentence, Slot(sentence.start, max(following, sentence.start)))
            for sentence, following in zip(sentences, ends, strict=True)
        )
        self._progress.expect("translate", len(slotted))
        self._progress.expect("synthesize", len(slotted))
        await outbox.send(SentenceBatch(index, slotted))

    async def _translate(self, batch: SentenceBatch) -> list[Line]:
        texts = [item.sentence.text for item in batch.sentences]
        route = self._route
        if route is None or not route.hops:
            translations = [Translation(text, (Hypothesis(text, 0.0),)) for text in texts]
        else:
            source = route.text_source
            rooms = [item.slot.length for item in batch.sentences]
            voice = self._plan.voice
            fingerprint = " ".join(hop.model_id for hop in route.hops) + self._plan.fingerprints["translate"]
            key = digest(source, self._plan.target_language, fingerprint, voice.characters_per_second, *texts, *rooms)
            translations = await self._once(
                "translate", batch.index, key, list[Translation], lambda: self._ask_translator(batch, source)
            )
        self._progress.finished("translate", len(texts), batch.sentences[-1].sentence.end)
        return [self._line(item, translation) for item, translation in zip(batch.sentences, translations, strict=True)]

    async def _ask_translator(self, batch: SentenceBatch, source: Language) -> list[Translation]:
        """The best translation of each, and alternatives where the best one is too long for its slot."""
        target, rate = self._plan.target_language, self._plan.voice.characters_per_second
        translator = self._engines.translator
        texts = [item.sentence.text for item in batch.sentences]
        translations = await translator.translate(texts, source, target)
        tight = [
            index
            for index, item in enumerate(batch.sentences)
            if not fits(translations[index].best.text, item.slot, rate)
        ]
        if tight:
            others = await translator.translate([texts[index] for index in tight], source, target, ALTERNATIVES)
            for index, other in zip(tight, others, strict=True):
                translations[index] = other
        return translations

    def _line(self, item: SlottedSentence, translation: Translation) -> Line:
        rate = self._plan.voice.characters_per_second
        text = choose_hypothesis(translation.hypotheses, item.slot, rate).text
        return Line(item.sentence, item.slot, text, choose_speed(text, item.slot, rate))

    async def _synthesize(self, line: Line) -> SpokenLine:
        voice = self._plan.voice
        key = digest(line.text, voice.id, line.speed, self._plan.fingerprints["synthesize"])
        index = line.sentence.index
        stored = await self._once("synthesize", index, key, StoredSpeech, lambda: self._ask_voice(line))
        self._progress.finished("synthesize", 1, line.sentence.end)
        samples = from_int16(np.frombuffer(stored.pcm, dtype="<i2"))
        return SpokenLine(line, AudioChunk(samples, stored.rate_hz))

    async def _ask_voice(self, line: Line) -> "StoredSpeech":
        speech = await self._engines.synthesizer.synthesize(line.text, self._plan.voice, line.speed)
        return StoredSpeech(speech.rate_hz, to_int16(speech.samples).tobytes())

    async def _fit(self, inbox: Channel[SpokenLine], listener: Listener, spool: SpeechSpool) -> list[FittedSegment]:
        fitted: list[FittedSegment] = []
        timeline = Timeline()
        async for spoken in inbox:
            line = spoken.line
            natural = -(-spoken.speech.length * ASR_RATE_HZ // spoken.speech.rate_hz)
            # The file's end is known only when all of it was heard; the last slot ends there.
            placement = timeline.place(natural, line.slot, listener.end)
            speech = await asyncio.to_thread(_shape, spoken.speech, natural, placement)
            segment = DubbedSegment(line.sentence, line.text, self._plan.voice, line.slot, line.speed, placement)
            fitted.append(FittedSegment(segment, spool.append(speech)))
            self._emit(_told(segment))
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


def _told(segment: DubbedSegment) -> SegmentDubbed:
    return SegmentDubbed(
        index=segment.sentence.index,
        start_s=segment.placement.start / ASR_RATE_HZ,
        end_s=segment.placement.end / ASR_RATE_HZ,
        source=segment.sentence.text,
        text=segment.text,
    )
