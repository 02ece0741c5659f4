"""Public doubles: engines that follow a script, cost nothing and keep a journal.

Name this module in `OCTAVIA_SERVE__ENGINES` and a whole stack runs without a model: for tests of
everything that is not speech, for load tests, for trying an installation. A file `script.json` in
home says how long each call takes; what was called goes to `engine-journal.jsonl` beside it.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from octavia_stream.asr.transcriber import AsrTask, TranscribeRequest
from octavia_stream.asr.transcript import Transcript, Word
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk, Samples
from octavia_stream.config import Settings
from octavia_stream.errors import EngineUnavailable, InvalidRequest, UnsupportedLanguage
from octavia_stream.languages import Language
from octavia_stream.mt.translator import Hypothesis, Translation
from octavia_stream.tts.voice import Voice
from octavia_stream.vad.detector import VAD_FRAME_SAMPLES, Probabilities

SCRIPT_NAME = "script.json"
JOURNAL_NAME = "engine-journal.jsonl"
LONGEST_CHUNK_S = 30.0
NO_LANGUAGE = Language("zxx")
"""BCP 47 for "no linguistic content": the scripted engines refuse it."""
SPEECH_RATE_HZ = 24_000
WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog.")


class Script(msgspec.Struct, frozen=True):
    """How long each call of the scripted engines takes, in seconds."""

    transcribe_s: float = 0.0
    translate_s: float = 0.0
    synthesize_s: float = 0.0


class Call(msgspec.Struct, frozen=True):
    """One line of the journal, written when the call starts."""

    stage: str
    items: list[str]
    """What was asked: texts, or positions of chunks as `start-end`. Its length is the batch."""
    pid: int


@dataclass(frozen=True, slots=True)
class Journal:
    """What scripted engines did, in one file that several processes append to."""

    path: Path | None = None
    """None keeps nothing."""

    def write(self, stage: str, items: Sequence[str]) -> None:
        if self.path is None:
            return
        line = msgspec.json.encode(Call(stage, list(items), os.getpid())) + b"\n"
        # One write of a short line to a file opened for appending is never torn.
        with self.path.open("ab", buffering=0) as file:
            file.write(line)

    def read(self) -> list[Call]:
        if self.path is None or not self.path.exists():
            return []
        return [msgspec.json.decode(line, type=Call) for line in self.path.read_bytes().splitlines()]


class ScriptedTranscriber:
    """Hears a pangram at two words a second, in any language asked for; English when none is."""

    def __init__(self, pause_s: float = 0.0, journal: Path | None = None) -> None:
        self._pause_s = pause_s
        self._journal = Journal(journal)

    def transcribe(self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe") -> Transcript:
        """One chunk. Raises InvalidRequest over 30 s, as the real one does, UnsupportedLanguage for `zxx`."""
        self._journal.write("transcribe", [f"{audio.offset}-{audio.end}"])
        time.sleep(self._pause_s)
        return self._hear(audio, language, task)

    def transcribe_batch(self, requests: Sequence[TranscribeRequest]) -> list[Transcript]:
        """Several chunks in one call, which costs as much as one."""
        self._journal.write("transcribe", [f"{request.audio.offset}-{request.audio.end}" for request in requests])
        time.sleep(self._pause_s)
        return [self._hear(request.audio, request.language, request.task) for request in requests]

    def _hear(self, audio: AudioChunk, language: Language | None, task: AsrTask) -> Transcript:
        if audio.duration_s > LONGEST_CHUNK_S:
            raise InvalidRequest(f"A chunk has at most {LONGEST_CHUNK_S:.0f} s.")
        if language == NO_LANGUAGE:
            raise UnsupportedLanguage("There is nothing to hear in 'zxx'.")
        step = ASR_RATE_HZ // 2
        starts = range(audio.offset, audio.end - step + 1, step)
        words = tuple(
            Word(WORDS[place % len(WORDS)], start, start + step * 4 // 5, 1.0) for place, start in enumerate(starts)
        )
        heard = Language("en") if task == "translate" else language or Language("en")
        return Transcript(words, heard)


class ScriptedTranslator:
    """Puts the target's tag before each sentence: `fox` becomes `pt: fox`."""

    def __init__(self, pause_s: float = 0.0, journal: Path | None = None) -> None:
        self._pause_s = pause_s
        self._journal = Journal(journal)

    def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        """One result each, with as many hypotheses as asked. Raises UnsupportedLanguage for `zxx`."""
        self._journal.write("translate", sentences)
        time.sleep(self._pause_s)
        if NO_LANGUAGE in (source, target):
            raise UnsupportedLanguage("Nothing translates 'zxx'.")
        return [_translation(sentence, target, hypotheses) for sentence in sentences]


class ScriptedSynthesizer:
    """Hums at 220 Hz for as long as the voice would take to read the text."""

    def __init__(self, pause_s: float = 0.0, journal: Path | None = None, fail_on: str | None = None) -> None:
        """fail_on: a text whose synthesis breaks as a broken engine does, with an error nobody expected."""
        self._pause_s = pause_s
        self._journal = Journal(journal)
        self._fail_on = fail_on

    def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        """Mono at 24 kHz; blank text is an empty chunk. Raises EngineUnavailable for a voice of another engine."""
        self._journal.write("synthesize", [text])
        time.sleep(self._pause_s)
        if self._fail_on is not None and text == self._fail_on:
            raise RuntimeError("the scripted engine broke")
        if not voice.id:
            raise EngineUnavailable("A voice without a name speaks with no engine.")
        seconds = len(text.strip()) / voice.characters_per_second / min(max(speed, 0.8), 1.3)
        return tone(seconds, SPEECH_RATE_HZ)


class FollowingTranscriber:
    """Hears words at set times, as a streaming test needs it; a word that is cut off by the end it mishears."""

    def __init__(self, words: Sequence[Word], language: Language) -> None:
        """words: positions in samples at 16 kHz on the timeline of what it will be given."""
        self._words = words
        self._language = language

    def transcribe(self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe") -> Transcript:
        """The words that begin in this chunk."""
        del language, task
        heard = [word for word in self._words if audio.offset <= word.start < audio.end]
        if heard and heard[-1].end > audio.end:
            last = heard[-1]
            heard[-1] = Word(last.text[:2] + ".", last.start, audio.end, 0.5)
        return Transcript(tuple(heard), self._language)


class LevelDetector:
    """A `SpeechDetector` that takes whatever is loud for speech."""

    def __init__(self, threshold: float = 0.01) -> None:
        self._threshold = threshold
        self._rest = np.zeros(0, np.float32)

    def push(self, samples: Samples) -> Probabilities:
        """One probability for each frame, 0 or 1."""
        heard = np.concatenate([self._rest, samples])
        whole = heard.size - heard.size % VAD_FRAME_SAMPLES
        self._rest = heard[whole:]
        frames = heard[:whole].reshape(-1, VAD_FRAME_SAMPLES)
        return self._judged(frames)

    def finish(self) -> Probabilities:
        """The rest as a frame."""
        rest, self._rest = self._rest, np.zeros(0, np.float32)
        return self._judged(rest.reshape(1, -1)) if rest.size else rest

    def _judged(self, frames: Samples) -> Probabilities:
        loud: Probabilities = (np.abs(frames).max(axis=1, initial=0.0) > self._threshold).astype(np.float32)
        return loud


def tone(seconds: float, rate_hz: int, frequency_hz: float = 220.0, level: float = 0.1, offset: int = 0) -> AudioChunk:
    """A sine, mono; `level` is its peak."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return AudioChunk((level * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32), rate_hz, offset)


def silence(seconds: float, rate_hz: int = ASR_RATE_HZ, offset: int = 0) -> AudioChunk:
    """Nothing at all, mono."""
    return AudioChunk(np.zeros(round(seconds * rate_hz), np.float32), rate_hz, offset)


def transcriber(settings: Settings) -> ScriptedTranscriber:
    """For `OCTAVIA_SERVE__ENGINES`."""
    return ScriptedTranscriber(_script(settings).transcribe_s, settings.home / JOURNAL_NAME)


def translator(settings: Settings) -> ScriptedTranslator:
    """For `OCTAVIA_SERVE__ENGINES`."""
    return ScriptedTranslator(_script(settings).translate_s, settings.home / JOURNAL_NAME)


def synthesizer(settings: Settings) -> ScriptedSynthesizer:
    """For `OCTAVIA_SERVE__ENGINES`."""
    return ScriptedSynthesizer(_script(settings).synthesize_s, settings.home / JOURNAL_NAME)


def _script(settings: Settings) -> Script:
    path = settings.home / SCRIPT_NAME
    return msgspec.json.decode(path.read_bytes(), type=Script) if path.exists() else Script()


def _translation(sentence: str, target: Language, hypotheses: int) -> Translation:
    text = f"{target}: {sentence}" if sentence.strip() else sentence
    return Translation(sentence, tuple(Hypothesis(text, -0.1 * (rank + 1)) for rank in range(max(hypotheses, 1))))
