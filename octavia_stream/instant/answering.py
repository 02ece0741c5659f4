"""The worker's side: takes calls, answers them, and stops where nobody waits any more."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.reading import read_aloud
from octavia_stream.dubbing.transcription import HeardSentence, Transcription
from octavia_stream.errors import DependencyUnavailable, EngineUnavailable, OctaviaError
from octavia_stream.instant.call import (
    Alive,
    Call,
    Finished,
    Heard,
    HeardWord,
    Refused,
    Reply,
    Sound,
    Speak,
    Transcribe,
)
from octavia_stream.instant.switchboard import BEAT_S
from octavia_stream.jobs.job_models import JobModels
from octavia_stream.jobs.scratch import worker_scratch
from octavia_stream.languages import parse_language
from octavia_stream.media.demuxer import decode_audio
from octavia_stream.media.sound_writer import write_sound
from octavia_stream.models.registry import Registry
from octavia_stream.mt.routes import ENGLISH
from octavia_stream.runtime import Runtime
from octavia_stream.scheduling.share import EnginesFor, Priority, Share

log = structlog.get_logger()

SPEECH_RATE_HZ = 24_000
"""What clients of `pcm` expect."""
TAKE_S = 1.0
PAUSE_S = 1.0
"""After Redis was away."""
FULL_S = 0.1
"""How often a slow client is looked after."""


class CallServer:
    """Answers calls until drained, several at once."""

    def __init__(self, runtime: Runtime, engines: EnginesFor, registry: Registry) -> None:
        self._runtime = runtime
        self._switchboard = runtime.switchboard
        self._engines = engines
        self._registry = registry
        self._models = JobModels(runtime.settings, registry)
        self._hands = asyncio.Semaphore(runtime.settings.openai.concurrent_calls)
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take calls until cancelled; those under way are then given up, and their callers told."""
        with worker_scratch(self._runtime.settings.home / "scratch") as scratch:
            try:
                while True:
                    await self._hands.acquire()
                    call = await self._take()
                    if call is None:
                        self._hands.release()
                        continue
                    task = asyncio.create_task(self._answer(call, scratch), name=f"call-{call.id}")
                    self._running.add(task)
                    task.add_done_callback(self._done)
            finally:
                for task in self._running:
                    task.cancel()
                await asyncio.gather(*self._running, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._hands.release()

    async def _take(self) -> Call | None:
        try:
            return await self._switchboard.take(TAKE_S)
        except DependencyUnavailable:
            await asyncio.sleep(PAUSE_S)
            return None

    async def _answer(self, call: Call, scratch: Path) -> None:
        """One call from beginning to end. Never raises except when cancelled."""
        working = asyncio.create_task(self._work(call, scratch))
        beating = asyncio.create_task(self._beat(call))
        try:
            await asyncio.wait({working, beating}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await self._conclude(call, working)
        except asyncio.CancelledError:
            lost = EngineUnavailable("The server that worked on this restarts; try again.")
            await asyncio.shield(self._say(call, Refused(lost.code, str(lost))))
            raise
        finally:
            working.cancel()
            beating.cancel()
            await asyncio.gather(working, beating, return_exceptions=True)

    async def _conclude(self, call: Call, working: "asyncio.Task[None]") -> None:
        error = working.exception()
        if error is None:
            return
        if isinstance(error, OctaviaError):
            log.info("call_refused", call_id=str(call.id), code=error.code)
            await self._say(call, Refused(error.code, str(error)))
            return
        # A defect of ours: the caller is told that something broke, the log what.
        log.error("call_crashed", call_id=str(call.id), exc_info=error)
        await self._say(call, Refused("error", "Something went wrong inside the server; its log says what."))

    async def _say(self, call: Call, reply: Reply) -> None:
        with suppress(DependencyUnavailable):
            await self._switchboard.reply(call.id, reply)

    async def _beat(self, call: Call) -> None:
        """Returns when nobody waits for the answer any more."""
        while True:
            try:
                await self._switchboard.reply(call.id, Alive())
                if not await self._switchboard.wanted(call.id):
                    return
            except DependencyUnavailable:
                return
            await asyncio.sleep(BEAT_S)

    async def _work(self, call: Call, scratch: Path) -> None:
        with TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as directory:
            engines = self._engines(Share(call.owner_id or call.id, priority=Priority.LIVE))
            match call.ask:
                case Transcribe() as ask:
                    replies = self._transcribe(ask, engines, Path(directory))
                case Speak() as ask:
                    replies = self._speak(ask, engines)
            async with aclosing(replies):
                async for reply in replies:
                    while not await self._switchboard.room(call.id):  # noqa: ASYNC110  (Redis does not tell)
                        await asyncio.sleep(FULL_S)
                    await self._switchboard.reply(call.id, reply)

    async def _transcribe(self, ask: Transcribe, engines: Engines, directory: Path) -> AsyncGenerator[Reply]:
        source = self._runtime.objects.local_path(ask.key)
        if source is None:
            source = directory / "source"
            await self._runtime.objects.download(ask.key, source)
        settings = self._runtime.settings
        transcription = Transcription(
            engines,
            self._models.detector(),
            language=parse_language(ask.language) if ask.language else None,
            route=(lambda spoken: self._models.route(spoken, ENGLISH)) if ask.into_english else None,
            attempts=settings.worker.chunk_attempts,
            window_chunks=settings.worker.window_chunks,
        )
        media = settings.media.model_copy(update={"max_duration_s": ask.max_duration_s})
        sound = decode_audio(source, ask.track, rate_hz=ASR_RATE_HZ, channels=1, settings=media)
        async with aclosing(sound), aclosing(transcription.sentences(sound)) as sentences:
            async for heard in sentences:
                yield _told(heard)
        yield Finished(transcription.length / ASR_RATE_HZ, transcription.language)

    async def _speak(self, ask: Speak, engines: Engines) -> AsyncGenerator[Reply]:
        voice = self._registry.voice(ask.voice)
        spoken = 0

        async def counted(chunks: AsyncGenerator[AudioChunk]) -> AsyncGenerator[AudioChunk]:
            nonlocal spoken
            async with aclosing(chunks):
                async for chunk in chunks:
                    spoken = chunk.end
                    yield chunk

        sound = read_aloud(
            ask.text,
            voice,
            engines.synthesizer,
            rate_hz=SPEECH_RATE_HZ,
            speed=ask.speed,
            attempts=self._runtime.settings.worker.chunk_attempts,
        )
        written = write_sound(counted(sound), ask.format, SPEECH_RATE_HZ, self._runtime.settings.media)
        async with aclosing(gathered(written)) as pieces:
            async for piece in pieces:
                yield Sound(piece, spoken / SPEECH_RATE_HZ)
        yield Finished(spoken / SPEECH_RATE_HZ, voice.language)


SMALLEST_PIECE_BYTES = 2048
LARGEST_PIECE_BYTES = 64 * 1024


async def gathered(pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The same bytes in pieces that are neither tiny nor huge: a codec's packets have a few hundred bytes."""
    held = b""
    async with aclosing(pieces):
        async for piece in pieces:
            held += piece
            if len(held) < SMALLEST_PIECE_BYTES:
                continue
            for start in range(0, len(held), LARGEST_PIECE_BYTES):
                yield held[start : start + LARGEST_PIECE_BYTES]
            held = b""
    if held:
        yield held


def _told(heard: HeardSentence) -> Heard:
    words = [
        HeardWord(word.text.strip(), word.start / ASR_RATE_HZ, word.end / ASR_RATE_HZ, word.probability)
        for word in heard.words
    ]
    sentence = heard.sentence
    return Heard(heard.text, sentence.start / ASR_RATE_HZ, sentence.end / ASR_RATE_HZ, words)
