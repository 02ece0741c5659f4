"""What is said in a recording, told sentence by sentence while it is being listened to."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass

from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.asr.transcript import Transcript, Word
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.channel import Channel
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.listening import Listener, SpeechChunk
from octavia_stream.dubbing.loudness import LoudnessContour
from octavia_stream.dubbing.progress import ProgressTracker
from octavia_stream.dubbing.retrying import with_retries
from octavia_stream.dubbing.segment import Sentence
from octavia_stream.dubbing.sentences import SentenceAssembler
from octavia_stream.dubbing.stage import run_stage
from octavia_stream.languages import Language
from octavia_stream.mt.routes import Route
from octavia_stream.vad.detector import SpeechDetector

PlanRoute = Callable[[Language], Route]
"""From a spoken language to the one wanted. Raises UnsupportedLanguage."""


@dataclass(frozen=True, slots=True)
class HeardSentence:
    """A sentence, and the words that were heard of it. Positions in samples at 16 kHz."""

    sentence: Sentence
    """As it was heard, in the language of the words."""
    text: str
    """In the language wanted."""
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class _HeardChunk:
    transcript: Transcript
    final_until: int


class Transcription:
    """One recording; iterate `sentences` once, then the rest is known."""

    def __init__(
        self,
        engines: Engines,
        detector: SpeechDetector,
        *,
        language: Language | None = None,
        route: PlanRoute | None = None,
        attempts: int = 3,
        window_chunks: int = 4,
    ) -> None:
        """language: what is spoken; None lets the first words decide. route: None leaves words in their language."""
        self._engines = engines
        self._detector = detector
        self._route_to = route
        self._attempts = attempts
        self._window = window_chunks
        self._deciding = asyncio.Lock()
        self._route: Route | None = None
        self.language = language
        """What is spoken; None while nobody has said a word."""
        self.length = 0
        """Samples at 16 kHz that were listened to."""
        if language is not None and route is not None:
            self._route = route(language)

    async def sentences(self, sound: AsyncIterator[AudioChunk]) -> AsyncGenerator[HeardSentence]:
        """Each as soon as it is known to be whole. sound: mono blocks at 16 kHz from position 0 on.

        Raises UnsupportedLanguage, and what the engines raise when retries do not help.
        """
        outbox: Channel[HeardSentence] = Channel(self._window)
        running = asyncio.create_task(self._run(sound, outbox), name="transcription")
        taking: asyncio.Future[HeardSentence] | None = None
        try:
            while True:
                taking = asyncio.ensure_future(anext(outbox))
                await asyncio.wait({taking, running}, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    _raise_first(running)
                try:
                    yield await taking
                except StopAsyncIteration:
                    return
        finally:
            waiting = [future for future in (taking, running) if future is not None]
            for future in waiting:
                future.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _run(self, sound: AsyncIterator[AudioChunk], outbox: Channel[HeardSentence]) -> None:
        listener = Listener(self._detector, LoudnessContour(ASR_RATE_HZ), ProgressTracker(lambda _: None, 1))
        chunks: Channel[SpeechChunk] = Channel(self._window)
        heard: Channel[_HeardChunk] = Channel(self._window)
        async with asyncio.TaskGroup() as group:
            group.create_task(listener.listen(sound, chunks))
            group.create_task(run_stage(chunks, heard, self._hear, self._window))
            group.create_task(self._assemble(heard, listener, outbox))

    async def _hear(self, chunk: SpeechChunk) -> _HeardChunk:
        async with self._deciding:
            if self.language is None:
                transcript = await self._ask(chunk, None, "transcribe")
                if transcript.words:
                    self.language = transcript.language
                    self._route = self._route_to(transcript.language) if self._route_to else None
                if not transcript.words or self._task == "transcribe":
                    return _HeardChunk(transcript, chunk.final_until)
        return _HeardChunk(await self._ask(chunk, self.language, self._task), chunk.final_until)

    @property
    def _task(self) -> AsrTask:
        return self._route.asr_task if self._route else "transcribe"

    async def _ask(self, chunk: SpeechChunk, language: Language | None, task: AsrTask) -> Transcript:
        transcriber = self._engines.transcriber
        return await with_retries(lambda: transcriber.transcribe(chunk.audio, language, task), self._attempts)

    async def _assemble(self, inbox: Channel[_HeardChunk], listener: Listener, outbox: Channel[HeardSentence]) -> None:
        assembler: SentenceAssembler | None = None
        words: list[Word] = []
        async for heard in inbox:
            if assembler is None and heard.transcript.words:
                assembler = SentenceAssembler(heard.transcript.language)
            if assembler is not None:
                words += heard.transcript.words
                words = await self._tell(assembler.push(heard.transcript.words, heard.final_until), words, outbox)
        self.length = listener.length
        if assembler is not None:
            await self._tell(assembler.finish(), words, outbox)
        await outbox.close()

    async def _tell(self, sentences: list[Sentence], words: list[Word], outbox: Channel[HeardSentence]) -> list[Word]:
        """Hand sentences on with their words; returns the words that are left."""
        texts = await self._translated(sentences)
        for sentence, text in zip(sentences, texts, strict=True):
            own = tuple(word for word in words if word.start < sentence.end)
            words = [word for word in words if word.start >= sentence.end]
            await outbox.send(HeardSentence(sentence, text, own))
        return words

    async def _translated(self, sentences: list[Sentence]) -> list[str]:
        texts = [sentence.text for sentence in sentences]
        route = self._route
        if not texts or route is None or not route.hops:
            return texts
        translator, target = self._engines.translator, route.hops[-1].target
        translations = await with_retries(
            lambda: translator.translate(texts, route.text_source, target), self._attempts
        )
        return [translation.best.text for translation in translations]


def _raise_first(running: "asyncio.Task[None]") -> None:
    """Raise what ended the task, if anything did: of several errors the first, for the others follow from it."""
    error = running.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise error
