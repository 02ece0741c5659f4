"""The corridor itself: sound in, fitted speech out, every stage busy at once and in order at the door."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.channel import Channel
from octavia_stream.dubbing.checkpoints import Checkpoints
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.lines import SentenceBatch, SlottedSentence
from octavia_stream.dubbing.listening import Listener, SpeechChunk
from octavia_stream.dubbing.once import Once
from octavia_stream.dubbing.plan import DubbingPlan
from octavia_stream.dubbing.progress import Emit, ProgressTracker
from octavia_stream.dubbing.segment import Sentence, Slot
from octavia_stream.dubbing.sentences import SentenceAssembler
from octavia_stream.dubbing.speaking import FittedSegment, Speaking
from octavia_stream.dubbing.speech_spool import SpeechSpool
from octavia_stream.dubbing.stage import run_stage
from octavia_stream.dubbing.understanding import Understanding
from octavia_stream.errors import EngineUnavailable
from octavia_stream.events.event import Warned
from octavia_stream.languages import Language
from octavia_stream.mt.routes import Route

__all__ = ["Corridor", "DubbingPlan", "FittedSegment", "Heard"]


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
        self._progress = progress
        self._emit = emit
        self._route: Route | None = None
        once = Once(checkpoints, plan.attempts)
        self._understanding = Understanding(
            engines.transcriber, once, plan.fingerprints["transcribe"], plan.source_language, self._decide
        )
        self._speaking = Speaking(plan, lambda: self._route, engines, once, progress, emit)

    @property
    def source_language(self) -> Language | None:
        """What is spoken; None while nobody has said a word."""
        return self._understanding.language

    def _decide(self, spoken: Language) -> AsrTask:
        self._route = self._plan.route(spoken)
        return self._route.asr_task

    async def run(
        self,
        sound: AsyncIterator[AudioChunk],
        listener: Listener,
        spool: SpeechSpool,
        told: Callable[[FittedSegment], None] | None = None,
    ) -> list[FittedSegment]:
        """Dub everything; returns the segments in order of time. Raises what the first failing stage raised.

        sound: consecutive mono blocks at 16 kHz from position 0 on. told: is called with each segment when it is done.
        """
        plan = self._plan
        chunks: Channel[SpeechChunk] = Channel(plan.chunks_in_flight)
        heard: Channel[Heard] = Channel(plan.chunks_in_flight)
        batches: Channel[SentenceBatch] = Channel(plan.chunks_in_flight)
        async with asyncio.TaskGroup() as group:
            group.create_task(listener.listen(sound, chunks))
            group.create_task(run_stage(chunks, heard, self._transcribe, plan.chunks_in_flight))
            group.create_task(self._regroup(heard, batches, listener))
            # The file's end is known only when all of it was heard.
            speaking = group.create_task(self._speaking.run(batches, lambda: listener.end, spool, told))
        return speaking.result()

    async def _transcribe(self, chunk: SpeechChunk) -> Heard:
        transcript = await self._understood(chunk)
        self._progress.finished("transcribe", 1, chunk.final_until)
        return Heard(chunk.index, transcript, chunk.final_until)

    async def _understood(self, chunk: SpeechChunk) -> Transcript:
        """The words of a chunk; none when no engine can tell and the original may stay instead."""
        try:
            return await self._understanding.understand(chunk)
        except EngineUnavailable:
            if not self._plan.keep_original:
                raise
        start_s, end_s = chunk.audio.offset / ASR_RATE_HZ, chunk.audio.end / ASR_RATE_HZ
        message = f"What is said from {start_s:.1f} to {end_s:.1f} s was not understood; the original is kept there."
        self._emit(Warned("not_understood", message))
        return Transcript((), self.source_language or self._plan.target_language)

    async def _regroup(self, inbox: Channel[Heard], outbox: Channel[SentenceBatch], listener: Listener) -> None:
        """Words become sentences across chunk borders; the first word of the next one bounds a sentence's slot."""
        assembler: SentenceAssembler | None = None
        held: list[Sentence] = []
        async for heard in inbox:
            if assembler is None and heard.transcript.words:
                assembler = SentenceAssembler(heard.transcript.language)
            if assembler is None:
                continue
            held += assembler.push(heard.transcript.words, heard.final_until)
            if held and assembler.next_start is not None:
                await self._send_batch(heard.index, held, assembler.next_start, outbox)
                held = []
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
