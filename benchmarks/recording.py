"""The installed engines, with every call kept: name this module in `OCTAVIA_SERVE__ENGINES`."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.calls import CallJournal, HeardChunk, Stopwatch, SynthesizeCall, TranscribeCall, TranslateCall
from octavia_stream import installed
from octavia_stream.asr.transcriber import BatchTranscriber, TranscribeRequest
from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.config import Settings
from octavia_stream.dubbing.engines import PlainSynthesizer, PlainTranslator
from octavia_stream.dubbing.speech_spool import to_int16
from octavia_stream.languages import Language
from octavia_stream.mt.translator import Translation
from octavia_stream.tts.voice import Voice


class RecordingTranscriber:
    """A `BatchTranscriber` that keeps what it is asked."""

    def __init__(self, engine: BatchTranscriber, journal: CallJournal) -> None:
        self._engine = engine
        self._journal = journal

    def transcribe_batch(self, requests: Sequence[TranscribeRequest]) -> list[Transcript]:
        with Stopwatch() as watch:
            transcripts = self._engine.transcribe_batch(requests)
        chunks = [
            HeardChunk(r.audio.samples.astype("<f4").tobytes(), r.audio.offset, r.language, r.task) for r in requests
        ]
        self._journal.write(TranscribeCall(watch.cost, chunks))
        return transcripts


class RecordingTranslator:
    """A `PlainTranslator` that keeps what it is asked."""

    def __init__(self, engine: PlainTranslator, journal: CallJournal) -> None:
        self._engine = engine
        self._journal = journal

    def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        with Stopwatch() as watch:
            translations = self._engine.translate(sentences, source, target, hypotheses)
        self._journal.write(TranslateCall(watch.cost, list(sentences), source, target, hypotheses))
        return translations


class RecordingSynthesizer:
    """A `PlainSynthesizer` that keeps what it is asked and what it answers."""

    def __init__(self, engine: PlainSynthesizer, journal: CallJournal) -> None:
        self._engine = engine
        self._journal = journal

    def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        with Stopwatch() as watch:
            speech = self._engine.synthesize(text, voice, speed)
        samples = to_int16(speech.samples).tobytes()
        self._journal.write(SynthesizeCall(watch.cost, text, voice, speed, speech.rate_hz, samples))
        return speech


def journal_directory(settings: Settings) -> Path:
    """Where the calls are kept."""
    return settings.home / "calls"


def transcriber(settings: Settings) -> RecordingTranscriber:
    """For `OCTAVIA_SERVE__ENGINES`."""
    return RecordingTranscriber(installed.transcriber(settings), CallJournal(journal_directory(settings)))


def translator(settings: Settings) -> RecordingTranslator:
    """For `OCTAVIA_SERVE__ENGINES`."""
    return RecordingTranslator(installed.translator(settings), CallJournal(journal_directory(settings)))


def synthesizer(settings: Settings) -> RecordingSynthesizer:
    """For `OCTAVIA_SERVE__ENGINES`."""
    return RecordingSynthesizer(installed.synthesizer(settings), CallJournal(journal_directory(settings)))
