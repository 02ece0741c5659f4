"""What is said in a file, as subtitles in its own language and in others."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.captions.cues import USUAL, Cue, CueRules, SpokenText, make_cues
from octavia_stream.channel import Channel
from octavia_stream.config import MediaSettings
from octavia_stream.dubbing.checkpoints import Checkpoints, Stage
from octavia_stream.dubbing.detours import Detours, change_to
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.glossary import NO_GLOSSARY, Glossary
from octavia_stream.dubbing.listening import Listener, SpeechChunk
from octavia_stream.dubbing.loudness import LoudnessContour
from octavia_stream.dubbing.once import Once
from octavia_stream.dubbing.progress import Emit, ProgressTracker
from octavia_stream.dubbing.segment import Sentence
from octavia_stream.dubbing.sentences import SentenceAssembler
from octavia_stream.dubbing.stage import run_stage
from octavia_stream.dubbing.text_translation import TextTranslation
from octavia_stream.dubbing.understanding import Understanding
from octavia_stream.errors import NoSpeech
from octavia_stream.events.event import Analysed, Warned
from octavia_stream.languages import Language
from octavia_stream.media.demuxer import Demuxer
from octavia_stream.media.info import AudioTrack, MediaInfo
from octavia_stream.mt.routes import Route
from octavia_stream.vad.detector import SpeechDetector

WEIGHTS: dict[Stage, float] = {"transcribe": 0.85, "translate": 0.15}
"""Shares of the work, as `progress.WEIGHTS` has them for a dub."""


@dataclass(frozen=True, slots=True)
class CaptionRequest:
    """What to listen to, and in which languages to write it down."""

    source: Path
    info: MediaInfo
    track: AudioTrack
    source_language: Language | None
    target_languages: tuple[Language, ...]
    route: Callable[[Language, Language], Route]
    """From a spoken language to a target. Raises UnsupportedLanguage."""
    fingerprints: Mapping[Stage, str]
    media: MediaSettings
    attempts: int = 3
    window_chunks: int = 4
    glossary: Glossary = NO_GLOSSARY
    cue_rules: CueRules = USUAL


@dataclass(frozen=True, slots=True)
class CaptionResult:
    """Subtitles by language, that of the speech first."""

    source_language: Language
    sentences: int
    duration_s: float
    cues: dict[Language, list[Cue]]


@dataclass(frozen=True, slots=True)
class _Heard:
    """A chunk's words by what was asked of the model, and how far the timeline is known after it."""

    transcripts: dict[AsrTask, Transcript]
    final_until: int


async def caption_file(
    request: CaptionRequest, engines: Engines, detector: SpeechDetector, checkpoints: Checkpoints, emit: Emit
) -> CaptionResult:
    """Raises NoSpeech, MediaRejected, UnsupportedLanguage, and what the engines raise when retries do not help."""
    length = round(request.info.duration_s * ASR_RATE_HZ)
    progress = ProgressTracker(emit, length, weights=WEIGHTS)
    listener = Listener(detector, LoudnessContour(ASR_RATE_HZ), progress)
    once = Once(checkpoints, request.attempts)
    listening = _Listening(request, engines, once, progress, emit)
    demuxer = Demuxer(request.source, request.track, rate_hz=ASR_RATE_HZ, channels=1, settings=request.media)
    async with demuxer as sound:
        sentences = await listening.run(sound, listener)
        damaged = demuxer.report.errors or demuxer.report.truncated
    spoken = listening.language
    if spoken is None or not sentences.get("transcribe"):
        raise NoSpeech("No speech was found in this file, so there is nothing to write down.")
    if damaged:
        emit(Warned("damaged_media", "Parts of the file are damaged; what could be heard of it is written down."))
    progress.ended("transcribe")
    end_s = listener.length / ASR_RATE_HZ
    cues = {spoken: _cues(sentences["transcribe"], None, end_s, request.cue_rules)}
    sources = {target: sentences[route.asr_task] for target, route in listening.routes.items()}
    translation = TextTranslation(
        engines,
        once,
        progress,
        request.fingerprints["translate"],
        request.glossary,
        emit,
        total=sum(map(len, sources.values())),
        length=max(length, 1),
    )
    for target in listening.routes:
        texts: list[str] = []
        for language, group in groupby(sources[target], lambda sentence: sentence.language):
            said = [sentence.text for sentence in group]
            texts += await translation.translate(said, listening.route(language, target), target)
        cues.setdefault(target, _cues(sources[target], texts, end_s, request.cue_rules))
    progress.ended("translate")
    return CaptionResult(spoken, len(sentences["transcribe"]), end_s, cues)


def _cues(sentences: list[Sentence], texts: list[str] | None, end_s: float, rules: CueRules) -> list[Cue]:
    words = texts if texts is not None else [sentence.text for sentence in sentences]
    spoken = [
        SpokenText(sentence.start / ASR_RATE_HZ, sentence.end / ASR_RATE_HZ, text)
        for sentence, text in zip(sentences, words, strict=True)
    ]
    return make_cues(spoken, end_s, rules)


class _Listening:
    """From sound to sentences: once as spoken, and once more in English where only the ASR model translates."""

    def __init__(
        self, request: CaptionRequest, engines: Engines, once: Once, progress: ProgressTracker, emit: Emit
    ) -> None:
        self._request = request
        self._progress = progress
        self._emit = emit
        self.routes: dict[Language, Route] = {}
        """How each target is reached, once the language is known."""
        self._detours = Detours(self._routes_from, lambda: tuple(self.routes.values()), "these subtitles", emit)
        self._understanding = Understanding(
            engines.transcriber,
            once,
            request.fingerprints["transcribe"],
            request.source_language,
            self._decide,
            self._detours.follow,
        )

    @property
    def language(self) -> Language | None:
        """What is spoken; None while nobody has said a word."""
        return self._understanding.language

    def _decide(self, spoken: Language) -> AsrTask:
        request = self._request
        self.routes = dict(zip(request.target_languages, self._routes_from(spoken), strict=True))
        self._emit(Analysed(request.info.duration_s, spoken, ", ".join(request.target_languages) or spoken, ""))
        return "transcribe"

    def _routes_from(self, spoken: Language) -> tuple[Route, ...]:
        return tuple(self._request.route(spoken, target) for target in self._request.target_languages)

    def route(self, spoken: Language, target: Language) -> Route:
        """From a language that is spoken somewhere."""
        return dict(zip(self.routes, self._detours.of(spoken), strict=True))[target]

    async def run(self, sound: AsyncIterator[AudioChunk], listener: Listener) -> dict[AsrTask, list[Sentence]]:
        window = self._request.window_chunks
        chunks: Channel[SpeechChunk] = Channel(window)
        heard: Channel[_Heard] = Channel(window)
        async with asyncio.TaskGroup() as group:
            group.create_task(listener.listen(sound, chunks))
            group.create_task(run_stage(chunks, heard, self._hear, window))
            gathering = group.create_task(self._gather(heard))
        return gathering.result()

    async def _hear(self, chunk: SpeechChunk) -> _Heard:
        transcripts: dict[AsrTask, Transcript] = {"transcribe": await self._understanding.understand(chunk)}
        if any(route.asr_task == "translate" for route in self.routes.values()):
            transcripts["translate"] = await self._understanding.ask(chunk, self.language, "translate")
        self._progress.finished("transcribe", 1, chunk.final_until)
        return _Heard(transcripts, chunk.final_until)

    async def _gather(self, inbox: Channel[_Heard]) -> dict[AsrTask, list[Sentence]]:
        assemblers: dict[AsrTask, SentenceAssembler] = {}
        sentences: dict[AsrTask, list[Sentence]] = {"transcribe": [], "translate": []}
        async for heard in inbox:
            for task, transcript in heard.transcripts.items():
                if task not in assemblers and transcript.words:
                    assemblers[task] = SentenceAssembler(transcript.language)
                if (assembler := assemblers.get(task)) is None:
                    continue
                if transcript.words and transcript.language != assembler.language:
                    sentences[task] += assembler.change_language(transcript.language)
                    self._emit(change_to(transcript))
                sentences[task] += assembler.push(transcript.words, heard.final_until)
        for task, assembler in assemblers.items():
            sentences[task] += assembler.finish()
        return sentences
