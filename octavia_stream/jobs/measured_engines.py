"""The three ports, each call counted and timed as the job worker sees it: waiting for a replica included."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from octavia_stream.asr.transcriber import AsrTask, Transcriber
from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.dubbing.engines import Engines
from octavia_stream.errors import OctaviaError
from octavia_stream.languages import Language
from octavia_stream.mt.translator import Translation, Translator
from octavia_stream.telemetry import metrics
from octavia_stream.telemetry.tracing import span
from octavia_stream.tts.synthesizer import Synthesizer
from octavia_stream.tts.voice import Voice


def measured(engines: Engines) -> Engines:
    """The same engines; what they do is found in the metrics."""
    return Engines(
        _MeasuredTranscriber(engines.transcriber),
        _MeasuredTranslator(engines.translator),
        _MeasuredSynthesizer(engines.synthesizer),
    )


class _MeasuredTranscriber:
    def __init__(self, transcriber: Transcriber) -> None:
        self._transcriber = transcriber

    async def transcribe(
        self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe"
    ) -> Transcript:
        with _call("transcribe"):
            transcript = await self._transcriber.transcribe(audio, language, task)
        metrics.STAGE_MEDIA.labels("transcribe").inc(audio.duration_s)
        return transcript


class _MeasuredTranslator:
    def __init__(self, translator: Translator) -> None:
        self._translator = translator

    async def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        with _call("translate"):
            translations = await self._translator.translate(sentences, source, target, hypotheses)
        metrics.SENTENCES_TRANSLATED.inc(len(sentences))
        return translations


class _MeasuredSynthesizer:
    def __init__(self, synthesizer: Synthesizer) -> None:
        self._synthesizer = synthesizer

    async def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        with _call("synthesize"):
            speech = await self._synthesizer.synthesize(text, voice, speed)
        metrics.STAGE_MEDIA.labels("synthesize").inc(speech.duration_s)
        return speech


@contextmanager
def _call(stage: Stage) -> Iterator[None]:
    """One call; what it raises goes on."""
    started = time.monotonic()
    with metrics.STAGE_CALLS.labels(stage).track_inprogress(), span(stage, side="asking"):
        try:
            yield
        except OctaviaError as error:
            metrics.CHUNK_FAILURES.labels(stage, error.code).inc()
            raise
    metrics.STAGE.labels(stage).observe(time.monotonic() - started)
