"""The three ports, carried together."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from octavia_stream.asr.transcriber import AsrTask, Transcriber
from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.languages import Language
from octavia_stream.mt.translator import Translation, Translator
from octavia_stream.tts.synthesizer import Synthesizer
from octavia_stream.tts.voice import Voice


@dataclass(frozen=True, slots=True)
class Engines:
    """What the corridor calls and awaits; it does not know what stands behind."""

    transcriber: Transcriber
    translator: Translator
    synthesizer: Synthesizer


class PlainTranscriber(Protocol):
    """What a synchronous ASR engine offers; `Transcriber` says what it means."""

    def transcribe(self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe") -> Transcript: ...


class PlainTranslator(Protocol):
    """What a synchronous MT engine offers; `Translator` says what it means."""

    def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]: ...


class PlainSynthesizer(Protocol):
    """What a synchronous TTS engine offers; `Synthesizer` says what it means."""

    def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk: ...


class _ThreadTranscriber:
    def __init__(self, engine: PlainTranscriber) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, "asr")

    async def transcribe(
        self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe"
    ) -> Transcript:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._engine.transcribe, audio, language, task)


class _ThreadTranslator:
    def __init__(self, engine: PlainTranslator) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, "mt")

    async def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._engine.translate, sentences, source, target, hypotheses)


class _ThreadSynthesizer:
    def __init__(self, engine: PlainSynthesizer) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, "tts")

    async def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._engine.synthesize, text, voice, speed)


def local(asr: PlainTranscriber, mt: PlainTranslator, tts: PlainSynthesizer) -> Engines:
    """Lift plain engines onto one thread each, for a REPL, a script or a test without Ray."""
    return Engines(_ThreadTranscriber(asr), _ThreadTranslator(mt), _ThreadSynthesizer(tts))
