"""The three ports before which a cache stands: what was asked before, in another job too, no engine is asked again.

It stands right before the engines, behind glossaries and the checkpoints of jobs: a key is of exactly what an engine
would be given. A call that finds its result waits for nobody's turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID

import msgspec
import numpy as np

from octavia_stream.asr.transcriber import AsrTask, Transcriber
from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.cache.results import ResultCache
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.dubbing.digest import digest
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.speaking import StoredSpeech
from octavia_stream.dubbing.speech_spool import from_int16, to_int16
from octavia_stream.languages import Language
from octavia_stream.mt.routes import Route
from octavia_stream.mt.translator import Translation, Translator
from octavia_stream.tts.synthesizer import Synthesizer
from octavia_stream.tts.voice import Voice


class Models(Protocol):
    """What the cache asks of the models that engines work with."""

    @property
    def asr(self) -> str: ...

    def identity(self, *models: str) -> str:
        """All that decides what they make of the same input."""
        ...

    def route(self, source: Language, target: Language, *, text: bool = False) -> Route:
        """Raises UnsupportedLanguage."""
        ...


def with_cache(engines: Engines, cache: ResultCache, models: Models, owner_id: UUID) -> Engines:
    """The engines for one job of an owner; as they are when nothing is kept."""
    if not cache.enabled:
        return engines
    kept = _Kept(cache, models, cache.scope(owner_id))
    return Engines(
        _CachedTranscriber(engines.transcriber, kept),
        _CachedTranslator(engines.translator, kept),
        _CachedSynthesizer(engines.synthesizer, kept),
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """The cache as one owner's work sees it."""

    cache: ResultCache
    models: Models
    scope: UUID | None

    def digest(self, stage: Stage, models: Sequence[str], *parts: bytes | str | float | int | None) -> str:
        scope = self.scope.hex if self.scope is not None else None
        return digest("cache", scope, stage, self.models.identity(*models), *parts)


class _CachedTranscriber:
    def __init__(self, transcriber: Transcriber, kept: _Kept) -> None:
        self._transcriber = transcriber
        self._kept = kept

    async def transcribe(
        self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe"
    ) -> Transcript:
        """As `Transcriber.transcribe`. What is kept begins at 0: the same sound may come at another place."""
        kept = self._kept
        key = kept.digest("transcribe", [kept.models.asr], to_int16(audio.samples).tobytes(), language, str(task))

        async def compute(_: Sequence[int]) -> list[bytes]:
            heard = await self._transcriber.transcribe(audio, language, task)
            return [msgspec.msgpack.encode(_moved(heard, -audio.offset))]

        payload = (await kept.cache.results("transcribe", kept.scope, [key], compute))[key]
        return _moved(msgspec.msgpack.decode(payload, type=Transcript), audio.offset)


class _CachedTranslator:
    def __init__(self, translator: Translator, kept: _Kept) -> None:
        self._translator = translator
        self._kept = kept
        self._routes: dict[tuple[Language, Language], list[str]] = {}

    async def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        """As `Translator.translate`. Sentences are kept one by one, and those of a batch looked for at once."""
        kept = self._kept
        which = digest(kept.digest("translate", self._models(source, target)), source, target, hypotheses)
        keys = [digest(which, sentence) for sentence in sentences]

        async def compute(places: Sequence[int]) -> list[bytes]:
            missing = [sentences[place] for place in places]
            made = await self._translator.translate(missing, source, target, hypotheses)
            return [msgspec.msgpack.encode(translation) for translation in made]

        payloads = await kept.cache.results("translate", kept.scope, keys, compute)
        return [msgspec.msgpack.decode(payloads[key], type=Translation) for key in keys]

    def _models(self, source: Language, target: Language) -> list[str]:
        """What translates for this job. Finding out looks at files, so it is done once."""
        if (source, target) not in self._routes:
            hops = self._kept.models.route(source, target, text=True).hops
            self._routes[source, target] = [hop.model_id for hop in hops]
        return self._routes[source, target]


class _CachedSynthesizer:
    def __init__(self, synthesizer: Synthesizer, kept: _Kept) -> None:
        self._synthesizer = synthesizer
        self._kept = kept

    async def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        """As `Synthesizer.synthesize`, in 16 bit, as checkpoints have it."""
        kept = self._kept
        key = kept.digest("synthesize", [voice.model], text, msgspec.json.encode(voice), speed)

        async def compute(_: Sequence[int]) -> list[bytes]:
            speech = await self._synthesizer.synthesize(text, voice, speed)
            return [msgspec.msgpack.encode(StoredSpeech(speech.rate_hz, to_int16(speech.samples).tobytes()))]

        payload = (await kept.cache.results("synthesize", kept.scope, [key], compute))[key]
        stored = msgspec.msgpack.decode(payload, type=StoredSpeech)
        return AudioChunk(from_int16(np.frombuffer(stored.pcm, dtype="<i2")), stored.rate_hz)


def _moved(transcript: Transcript, by: int) -> Transcript:
    """by: samples at 16 kHz."""
    words = tuple(replace(word, start=word.start + by, end=word.end + by) for word in transcript.words)
    return replace(transcript, words=words)
