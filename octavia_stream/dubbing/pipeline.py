"""The corridor itself: sound in, fitted speech out, every stage busy at once and in order at the door."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.channel import Channel
from octavia_stream.dubbing.checkpoints import Checkpoints
from octavia_stream.dubbing.detours import Detours, change_to
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

TASKS: tuple[AsrTask, ...] = ("transcribe", "translate")
CHUNKS_AT_FIRST = 3
"""As many are listened to before the first sentence is spoken: two may be needed to know where it ends. Any further one
would take the engines' cores from it, and somebody may be waiting to hear it."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a chunk says, by what was asked of the model, and how far the timeline is known after it."""

    index: int
    transcripts: dict[AsrTask, Transcript]
    final_until: int


class Corridor:
    """Takes one file's sound to fitted speech, in one language or several: it is listened to once. Use once."""

    def __init__(
        self,
        plans: Sequence[DubbingPlan],
        engines: Engines,
        checkpoints: Checkpoints,
        progress: ProgressTracker,
        emit: Emit,
    ) -> None:
        """plans: one for each language; what concerns listening is that of the first."""
        self._plan = plans[0]
        self._plans = plans
        self._progress = progress
        self._emit = emit
        self.routes: tuple[Route, ...] = ()
        """How each language is reached, once it is known what is spoken."""
        self._beginning = _Beginning()
        once = Once(checkpoints, self._plan.attempts)
        self._detours = Detours(self._routes_from, lambda: self.routes, "this dub", emit)
        self._understanding = Understanding(
            engines.transcriber,
            once,
            self._plan.fingerprints["transcribe"],
            self._plan.source_language,
            self._decide,
            self._detours.follow,
        )
        self._speaking = [
            Speaking(plan, partial(self._route, number), engines, once, progress.lane(number), emit)
            for number, plan in enumerate(plans)
        ]

    @property
    def source_language(self) -> Language | None:
        """What is spoken; None while nobody has said a word."""
        return self._understanding.language

    def _decide(self, spoken: Language) -> AsrTask:
        self.routes = self._routes_from(spoken)
        return self._tasks[0]

    def _routes_from(self, spoken: Language) -> tuple[Route, ...]:
        return tuple(plan.route(spoken) for plan in self._plans)

    def _route(self, number: int, spoken: Language) -> Route | None:
        routes = self._detours.of(spoken)
        return routes[number] if routes else None

    @property
    def _tasks(self) -> tuple[AsrTask, ...]:
        """What is asked of speech recognition for all languages together."""
        asked = {route.asr_task for route in self.routes}
        return tuple(task for task in TASKS if task in asked)

    async def run(
        self,
        sound: AsyncIterator[AudioChunk],
        listener: Listener,
        spools: Sequence[SpeechSpool],
        told: Callable[[FittedSegment], None] | None = None,
    ) -> list[list[FittedSegment]]:
        """Dub everything; returns each language's segments in order of time. Raises what the first failing stage did.

        sound: consecutive mono blocks at 16 kHz from position 0 on. spools: one for each language.
        told: is called with each segment of the first language when it is done.
        """

        def tell(number: int, item: FittedSegment) -> None:
            self._beginning.end()
            if told is not None and number == 0:
                told(item)

        window = self._plan.chunks_in_flight
        chunks: Channel[SpeechChunk] = Channel(window)
        heard: Channel[Heard] = Channel(window)
        batches: list[Channel[SentenceBatch]] = [Channel(window) for _ in self._plans]
        async with asyncio.TaskGroup() as group:
            group.create_task(listener.listen(sound, chunks))
            group.create_task(run_stage(chunks, heard, self._transcribe, window))
            group.create_task(self._regroup(heard, batches, listener))
            # The file's end is known only when all of it was heard.
            speaking = [
                group.create_task(
                    lane.run(batches[number], lambda: listener.end, spools[number], partial(tell, number))
                )
                for number, lane in enumerate(self._speaking)
            ]
        return [task.result() for task in speaking]

    async def _transcribe(self, chunk: SpeechChunk) -> Heard:
        await self._beginning.wait(chunk.index)
        transcripts = await self._understood(chunk)
        self._progress.finished("transcribe", 1, chunk.final_until)
        return Heard(chunk.index, transcripts, chunk.final_until)

    async def _understood(self, chunk: SpeechChunk) -> dict[AsrTask, Transcript]:
        """The words of a chunk; none when no engine can tell and the original may stay instead."""
        try:
            transcript = await self._understanding.understand(chunk)
            if not self.routes:
                return {}
            first, *others = self._tasks
            return {first: transcript} | {
                task: await self._understanding.ask(chunk, self.source_language, task) for task in others
            }
        except EngineUnavailable:
            if not self._plan.keep_original:
                raise
        start_s, end_s = chunk.audio.offset / ASR_RATE_HZ, chunk.audio.end / ASR_RATE_HZ
        message = f"What is said from {start_s:.1f} to {end_s:.1f} s was not understood; the original is kept there."
        self._emit(Warned("not_understood", message))
        return {}

    async def _regroup(
        self, inbox: Channel[Heard], outboxes: Sequence[Channel[SentenceBatch]], listener: Listener
    ) -> None:
        """Words become sentences across chunk borders; the first word of the next one bounds a sentence's slot."""
        gathering: dict[AsrTask, _Gathering] = {}
        async for heard in inbox:
            for task in self._tasks:
                transcript = heard.transcripts.get(task)
                if transcript is not None and transcript.words:
                    self._change_language(gathering, task, transcript)
                if (one := gathering.get(task)) is None:
                    continue
                one.held += one.assembler.push(transcript.words if transcript else (), heard.final_until)
                if one.held and one.assembler.next_start is not None:
                    await self._send_batch(
                        heard.index, one.held, one.assembler.next_start, self._wanting(task, outboxes)
                    )
                    one.held = []
                    self._beginning.sentence_sent = True
            self._beginning.heard(heard.index)
        for task, one in gathering.items():
            one.held += one.assembler.finish()
            end = max(listener.length, one.held[-1].end if one.held else 0)
            # One past every chunk: the sentences that only the end of the file completes.
            await self._send_batch(listener.chunks, one.held, end, self._wanting(task, outboxes))
        self._progress.expect("translate", 0, final=True)
        self._progress.expect("synthesize", 0, final=True)
        for outbox in outboxes:
            await outbox.close()

    def _change_language(self, gathering: dict[AsrTask, "_Gathering"], task: AsrTask, transcript: Transcript) -> None:
        """No sentence goes from one language into another."""
        one = gathering.get(task)
        if one is None:
            gathering[task] = _Gathering(SentenceAssembler(transcript.language))
        elif one.assembler.language != transcript.language:
            one.held += one.assembler.change_language(transcript.language)
            self._emit(change_to(transcript))

    def _wanting(self, task: AsrTask, outboxes: Sequence[Channel[SentenceBatch]]) -> list[Channel[SentenceBatch]]:
        """Of the languages that are made of what this task hears."""
        return [outbox for route, outbox in zip(self.routes, outboxes, strict=True) if route.asr_task == task]

    async def _send_batch(
        self, index: int, sentences: list[Sentence], end: int, outboxes: Sequence[Channel[SentenceBatch]]
    ) -> None:
        if not sentences:
            return
        ends = [*(sentence.start for sentence in sentences[1:]), end]
        slotted = tuple(
            SlottedSentence(sentence, Slot(sentence.start, max(following, sentence.start)))
            for sentence, following in zip(sentences, ends, strict=True)
        )
        self._progress.expect("translate", len(slotted) * len(outboxes))
        self._progress.expect("synthesize", len(slotted) * len(outboxes))
        for _, group in groupby(slotted, lambda item: item.sentence.language):
            batch = SentenceBatch(index, tuple(group))
            for outbox in outboxes:
                await outbox.send(batch)


class _Beginning:
    """Until the first sentence is spoken; chunks in which nobody speaks do not prolong it."""

    def __init__(self) -> None:
        self.sentence_sent = False
        """Whether one is on its way to be spoken."""
        self._chunks: float = CHUNKS_AT_FIRST
        """As many of them may be listened to."""
        self._more = asyncio.Event()

    async def wait(self, index: int) -> None:
        """Until this chunk may be listened to. Chunks come in order."""
        while index >= self._chunks:
            self._more.clear()
            await self._more.wait()

    def heard(self, index: int) -> None:
        """Everything up to this chunk was heard, and its sentences were sent."""
        if not self.sentence_sent:
            self._chunks = max(self._chunks, index + CHUNKS_AT_FIRST)
            self._more.set()

    def end(self) -> None:
        """The first sentence was spoken."""
        self._chunks = math.inf
        self._more.set()


@dataclass(slots=True)
class _Gathering:
    """Words on their way to sentences."""

    assembler: SentenceAssembler
    held: list[Sentence] = field(default_factory=list)
    """Whole ones whose slot is not bounded yet."""
