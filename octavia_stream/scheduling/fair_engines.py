"""The three ports behind gates: what every tenant's work waits at before it reaches a model server.

Each stage has a gate of its own, and what a call costs is counted in seconds of sound: heard, or spoken when somebody
reads it. The gates belong to one job worker. With several, each shares out fairly what it sends, and the model servers
take calls of all of them as they come: workers that are all busy get equal parts, so a tenant whose work happens
to be alone on one worker gets more than one that shares another. Claiming keeps that small: a worker takes jobs of
whoever has fewest running anywhere (`jobs/queries.py`). Live calls go before jobs within a worker.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from octavia_stream.asr.transcriber import AsrTask, Transcriber
from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.dubbing.engines import Engines
from octavia_stream.languages import Language
from octavia_stream.mt.translator import Translation, Translator
from octavia_stream.scheduling.gate import Gate
from octavia_stream.scheduling.share import Share
from octavia_stream.tts.synthesizer import Synthesizer
from octavia_stream.tts.voice import Voice

CHARACTERS_PER_SECOND = 14.0
"""How fast people read text of which no voice is known."""
LEAST_COST_S = 0.25
"""A call costs something even when nothing is said in it."""


class FairEngines:
    """Engines that many share; each tenant's work gets its own view of them."""

    def __init__(self, engines: Engines, gates: Mapping[Stage, Gate], shared_cores: int | None = None) -> None:
        """gates: one for each of the three stages, with as many slots as its servers take calls at once.

        shared_cores: on which listening and speaking take turns; None: neither takes time from the other.
        """
        self._engines = engines
        self._gates = gates
        self._shared_cores = shared_cores

    def __call__(self, share: Share) -> Engines:
        """As `EnginesFor`: the ports of one piece of work, whose calls wait for this share's turn."""
        cores = _Cores(self._shared_cores)
        return Engines(
            _FairTranscriber(self._engines.transcriber, self._gates["transcribe"], share, cores),
            _FairTranslator(self._engines.translator, self._gates["translate"], share),
            _FairSynthesizer(self._engines.synthesizer, self._gates["synthesize"], share, cores),
        )


class _Cores:
    """Has one piece of work listen only when it has not enough to say.

    What is heard earlier than that takes the cores from sentences that somebody waits for, waits itself to be spoken,
    and three busy processes on two cores compute less than two.
    """

    def __init__(self, number: int | None) -> None:
        self._number = number
        self._speaking = 0
        self._listening = 0
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """From the moment that a sentence is there to be spoken."""
        self._speaking += 1
        try:
            yield
        finally:
            self._speaking -= 1
            self._changed.set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Wait for a core that this work leaves idle; in the order of the calls."""
        async with self._turn:
            while not self._one_is_idle():
                self._changed.clear()
                await self._changed.wait()
            self._listening += 1
        try:
            yield
        finally:
            self._listening -= 1
            self._changed.set()

    def _one_is_idle(self) -> bool:
        return self._number is None or self._speaking + self._listening < self._number


@dataclass(frozen=True, slots=True)
class _FairTranscriber:
    transcriber: Transcriber
    gate: Gate
    share: Share
    cores: _Cores

    async def transcribe(
        self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe"
    ) -> Transcript:
        async with self.cores.listening(), self.gate.turn(self.share, max(audio.duration_s, LEAST_COST_S)):
            return await self.transcriber.transcribe(audio, language, task)


@dataclass(frozen=True, slots=True)
class _FairTranslator:
    translator: Translator
    gate: Gate
    share: Share

    async def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        seconds = sum(map(len, sentences)) / CHARACTERS_PER_SECOND
        async with self.gate.turn(self.share, max(seconds, LEAST_COST_S)):
            return await self.translator.translate(sentences, source, target, hypotheses)


@dataclass(frozen=True, slots=True)
class _FairSynthesizer:
    synthesizer: Synthesizer
    gate: Gate
    share: Share
    cores: _Cores

    async def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        seconds = len(text) / voice.characters_per_second / speed
        with self.cores.speaking():
            async with self.gate.turn(self.share, max(seconds, LEAST_COST_S)):
                return await self.synthesizer.synthesize(text, voice, speed)
