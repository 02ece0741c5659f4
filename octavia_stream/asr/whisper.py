"""Whisper through faster-whisper: a plain engine that transcribes chunks of many jobs in one call."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_compression_ratio, merge_punctuations
from faster_whisper.vad import VadOptions, get_speech_timestamps
from numpy.typing import NDArray

from octavia_stream.asr.placing import Region, place_words
from octavia_stream.asr.transcriber import AsrTask, Follow, TranscribeRequest
from octavia_stream.asr.transcript import Transcript, Word
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk, Samples
from octavia_stream.errors import EngineUnavailable, InvalidRequest, ModelCorrupt, UnsupportedLanguage
from octavia_stream.languages import Language, language_name

WINDOW_S = 30
"""What Whisper hears at once (Radford et al. 2022)."""

UNKNOWN = Language("und")
"""The language of a chunk in which nobody speaks, as BCP 47 has it."""

_ENGLISH = Language("en")

_OWN_CODES = {"jv": "jw", "nb": "no", "fil": "tl", "cmn": "zh"}
"""Language tags → Whisper's tokens, where they differ."""

_TAGS = {"jw": "jv", "tl": "fil"}
"""Whisper's tokens → the tags we use."""

_BATCH = 8
"""Windows per call of the model; the base model needs 1.1 GB for them."""

# All fields are set: with some missing, faster-whisper fills in others than its documented ones (issue 1409).
_SPEECH = VadOptions(
    threshold=0.4,
    neg_threshold=0.25,
    min_speech_duration_ms=100,
    max_speech_duration_s=float("inf"),
    min_silence_duration_ms=200,
    speech_pad_ms=60,
)

# Whisper's own limits for a window that went wrong (openai/whisper, transcribe.py).
_NO_SPEECH_PROBABILITY = 0.6
_MIN_LOG_PROBABILITY = -1.0
_MAX_COMPRESSION = 2.4

_UNHEARD = ASR_RATE_HZ
"""So much speech after the last word was left out. A question and a pause seem the end of all to Whisper: of seven
short phrases with pauses of up to 1.3 s between them the base model wrote down all, half, or only the first."""
_LEFT_OUT_TRIES = 3
_LEFT_OUT_LEVEL = 10 ** (-15 / 20)
"""What is quieter than this, against the speech that was heard, is no part of it: somebody in the background, or the
original under a dub."""

# For speech that is going on the window is only as long as the sound and a bit of silence: the encoder's cost grows
# with it (base, 5 s: 0.04 s and not 0.6 s), the words are the same. Without the silence the last word is often lost.
_FOLLOWING_SILENCE_S = 1
_TOKENS_PER_S = 10
"""Nobody speaks faster; whatever is longer is a loop."""
_OPENING, _CLOSING = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"  # as openai/whisper joins punctuation to words


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """A chunk with speech in it, ready for the model."""

    samples: Samples
    speech: tuple[Region, ...]
    language: Language
    probability: float


SURE = 0.5
"""Below this probability of the best language, the next ones are given a hearing too. Clear speech has above 0.9."""
RIVALS = 3


_Seeming: TypeAlias = tuple[Language | None, float]
"""What speech sounds like, and how sure that is."""


class _Told(threading.local):
    """What one thread heard from the model beside the words."""

    rankings: list[list[tuple[str, float]]] | None = None
    """Of each window since somebody put a list here: languages as tokens, the likeliest first."""
    last: tuple[NDArray[np.float32], Any] | None = None
    """The window that was encoded last, and what came out."""


class _TellingModel(WhisperModel):  # type: ignore[misc]
    """Also tells what is spoken in each window that it is given: all of that work but one step is done anyway."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.told = _Told()

    def encode(self, features: NDArray[np.float32]) -> Any:
        """As faster-whisper's. One window is often asked about twice: first for its language, then for its words."""
        batch = features if features.ndim == 3 else features[None]
        last = self.told.last
        if last is not None and np.array_equal(last[0], batch):
            encoded = last[1]
        else:
            encoded = super().encode(batch)
            self.told.last = (batch, encoded) if len(batch) == 1 else None
        if self.told.rankings is not None:
            self.told.rankings += self.model.detect_language(encoded)
        return encoded


class WhisperEngine:
    """One loaded model, for calls from several threads."""

    def __init__(
        self,
        model_dir: Path,
        *,
        device: Literal["cpu", "cuda"] = "cpu",
        compute_type: str = "int8",
        threads: int = 1,
        beam_size: int = 1,
        workers: int = 1,
    ) -> None:
        """model_dir: a CTranslate2 conversion of Whisper. workers: calls that are computed at once; more wait.

        Raises ModelCorrupt.
        """
        try:
            self._model = _TellingModel(
                str(model_dir),
                device=device,
                compute_type=compute_type,
                cpu_threads=threads,
                num_workers=workers,
                local_files_only=True,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelCorrupt(
                f"The ASR model cannot be loaded on {device} as {compute_type}; check `octavia models verify`."
            ) from error
        self._beam_size = beam_size
        self._accepted = {UNKNOWN, *self.languages}
        self._accepted |= {Language(tag) for tag, code in _OWN_CODES.items() if _TAGS.get(code, code) in self._accepted}

    @property
    def languages(self) -> tuple[Language, ...]:
        """What it understands."""
        if not self._model.model.is_multilingual:
            return (_ENGLISH,)
        # faster-whisper lists what the newest model knows; only the tokens of this one tell.
        token_of = self._model.hf_tokenizer.token_to_id
        known = [code for code in self._model.supported_languages if token_of(f"<|{code}|>") is not None]
        return tuple(Language(_TAGS.get(code, code)) for code in known)

    def transcribe(self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe") -> Transcript:
        """Transcribe one chunk; `Transcriber` says what it means."""
        return self.transcribe_batch([TranscribeRequest(audio, language, task)])[0]

    def transcribe_batch(self, requests: Sequence[TranscribeRequest]) -> list[Transcript]:
        """Transcribe chunks of different jobs together, one result each, in order.

        A chunk without speech gives no words, and the language `und` if it was to be detected.
        Raises InvalidRequest, UnsupportedLanguage, EngineUnavailable (a retry helps).
        """
        for request in requests:
            self._check(request)
        transcripts = [Transcript((), request.language or UNKNOWN, 0.0) for request in requests]
        groups: dict[tuple[Language, AsrTask], list[tuple[int, _Heard]]] = defaultdict(list)
        try:
            for index, request in enumerate(requests):
                if isinstance(request.task, Follow):
                    transcripts[index] = self._follow(request, request.task.said)
                elif heard := self._hear(request):
                    groups[heard.language, request.task].append((index, heard))
            for (language, task), members in groups.items():
                decoded = self._decode([heard for _, heard in members], language, task)
                for (index, heard), (words, seeming) in zip(members, decoded, strict=True):
                    transcripts[index] = _transcript(requests[index], heard, words, seeming)
        except (RuntimeError, MemoryError) as error:
            raise EngineUnavailable("Speech recognition failed on this replica; a retry helps.") from error
        return transcripts

    def _check(self, request: TranscribeRequest) -> None:
        audio = request.audio
        if audio.rate_hz != ASR_RATE_HZ or audio.samples.ndim != 1:
            raise InvalidRequest("Speech recognition takes mono sound at 16 kHz.")
        if audio.length > WINDOW_S * ASR_RATE_HZ:
            raise InvalidRequest(f"Speech recognition takes at most {WINDOW_S} s at once.")
        if request.language and request.language not in self._accepted:
            known = "English only" if not self._model.model.is_multilingual else f"{len(self.languages)} languages"
            raise UnsupportedLanguage(
                f"The ASR model does not understand {language_name(request.language)} ({known}); choose another model."
            )

    def _hear(self, request: TranscribeRequest) -> _Heard | None:
        samples = np.ascontiguousarray(request.audio.samples, dtype=np.float32)
        speech = tuple((int(span["start"]), int(span["end"])) for span in get_speech_timestamps(samples, _SPEECH))
        if not speech:
            return None
        if request.language and request.language != UNKNOWN:
            return _Heard(samples, speech, request.language, 1.0)
        if not self._model.model.is_multilingual:
            return _Heard(samples, speech, _ENGLISH, 1.0)
        # These are the features that the words are looked for in.
        _, _, ranking = self._model.detect_language(features=self._model.feature_extractor(samples)[..., :-1])
        candidates = [_Heard(samples, speech, Language(_TAGS.get(code, code)), float(p)) for code, p in ranking]
        if candidates[0].probability >= SURE:
            return candidates[0]
        # An accent can look like another language to the detector; the decoder knows which one gives sense.
        return max(candidates[:RIVALS], key=self._plausibility)

    def _plausibility(self, heard: _Heard) -> float:
        """How sure the decoder is of the words it hears, 0 to 1, if they are in this language."""
        [words], _ = self._run([heard], heard.language, "transcribe")
        return sum(word.probability for word in words) / len(words) if words else 0.0

    def _follow(self, request: TranscribeRequest, said: str) -> Transcript:
        """The words so far, by one pass over a short window. No search for speech, no second try."""
        model = self._model
        seconds = -(-request.audio.length // ASR_RATE_HZ) + _FOLLOWING_SILENCE_S
        silence = min(seconds, WINDOW_S) * ASR_RATE_HZ - request.audio.length
        samples = np.pad(np.asarray(request.audio.samples, np.float32), (0, silence))
        features = model.feature_extractor(samples, padding=0)
        encoded = model.encode(np.ascontiguousarray(features[:, : samples.size // model.feature_extractor.hop_length]))
        language, certainty = self._spoken(request, encoded)
        tokenizer = Tokenizer(
            model.hf_tokenizer,
            model.model.is_multilingual,
            task="transcribe",
            language=_OWN_CODES.get(language, language),
        )
        longest = (seconds + 1) * _TOKENS_PER_S
        # What a detected language was heard before in is not known.
        before = tokenizer.encode(f" {said}") if said and request.language else []
        tokens = self._tokens(encoded, tokenizer, longest, before)
        if get_compression_ratio(tokenizer.decode(tokens)) > _MAX_COMPRESSION:
            # A loop can begin in what was said before.
            tokens = self._tokens(encoded, tokenizer, longest, [], no_repeat_ngram_size=3)
        if not tokens:
            return Transcript((), language, certainty)
        frames = request.audio.length // model.feature_extractor.hop_length
        [timed] = model.find_alignment(tokenizer, [tokens], encoded, [frames])
        merge_punctuations(timed, _OPENING, _CLOSING)
        return Transcript(_timed_words(timed, request.audio), language, certainty)

    def _tokens(self, encoded: Any, tokenizer: Tokenizer, longest: int, before: list[int], **options: Any) -> list[int]:
        """What is said; nothing when the model takes it for noise."""
        prompt = self._model.get_prompt(tokenizer, before, without_timestamps=True)
        [result] = self._model.model.generate(
            encoded,
            [prompt],
            beam_size=self._beam_size,
            max_length=min(len(prompt) + longest, self._model.max_length),
            return_scores=True,
            return_no_speech_prob=True,
            **options,
        )
        noise = result.no_speech_prob > _NO_SPEECH_PROBABILITY and result.scores[0] < _MIN_LOG_PROBABILITY
        return [] if noise else list(result.sequences_ids[0])

    def _spoken(self, request: TranscribeRequest, encoded: Any) -> tuple[Language, float]:
        """The language asked for, or the one heard, and how sure that is."""
        if not self._model.model.is_multilingual:
            return _ENGLISH, 1.0
        if request.language and request.language != UNKNOWN:
            return request.language, 1.0
        return _seeming(self._model.model.detect_language(encoded)[0])

    def _decode(self, chunks: Sequence[_Heard], language: Language, task: AsrTask) -> list[tuple[list[Word], _Seeming]]:
        """The words of each chunk as Whisper times them, from the start of the chunk, and what they sound like."""
        with self._told(len(chunks)) as seeming:
            words, failed = self._run(chunks, language, task)
        if failed:
            # Greedy decoding can loop; sampling at a temperature is Whisper's own answer, but a resumed job must get
            # the same words again, so forbid repetitions instead.
            again, _ = self._run([chunks[i] for i in failed], language, task, beam_size=5, no_repeat_ngram_size=3)
            for i, found in zip(failed, again, strict=True):
                words[i] = found
        for chunk, found in zip(chunks, words, strict=True):
            self._add_left_out(chunk, found, task)
        return list(zip(words, seeming, strict=True))

    def _add_left_out(self, chunk: _Heard, words: list[Word], task: AsrTask) -> None:
        """Ask again for what follows the last word, as long as it is speech and there are words in it."""
        for _ in range(_LEFT_OUT_TRIES):
            rest = _left_out(chunk, words)
            if rest is None:
                return
            [found], _ = self._run([rest], chunk.language, task)
            if not found:
                return
            start = chunk.samples.size - rest.samples.size
            words += [Word(word.text, word.start + start, word.end + start, word.probability) for word in found]

    @contextmanager
    def _told(self, chunks: int) -> Iterator[list[_Seeming]]:
        """What each chunk sounds like, known when the block has run them."""
        seeming: list[_Seeming] = [(None, 0.0)] * chunks
        if not self._model.model.is_multilingual:
            yield seeming
            return
        rankings: list[list[tuple[str, float]]] = []
        self._model.told.rankings = rankings
        try:
            yield seeming
        finally:
            self._model.told.rankings = None
        # One window holds one chunk, in order; else nobody knows which is which.
        if len(rankings) == chunks:
            seeming[:] = [_seeming(ranking) for ranking in rankings]

    def _run(
        self, chunks: Sequence[_Heard], language: Language, task: AsrTask, **options: Any
    ) -> tuple[list[list[Word]], list[int]]:
        """Words of each chunk, and which chunks the model got lost in."""
        joined, clips = _join([chunk.samples for chunk in chunks])
        # It keeps where speech ended last: one for each call.
        segments, _ = BatchedInferencePipeline(self._model).transcribe(
            joined,
            **{
                "language": _OWN_CODES.get(language, language),
                "task": task if self._model.model.is_multilingual else "transcribe",
                "beam_size": self._beam_size,
                "word_timestamps": True,
                "clip_timestamps": clips,
                "batch_size": _BATCH,
                **options,
            },
        )
        # Every segment carries the position of its window in hundredths of a second.
        chunk_at = {round(clip["start"] * 100): index for index, clip in enumerate(clips)}
        words: list[list[Word]] = [[] for _ in chunks]
        failed = set()
        for segment in segments:
            index = chunk_at[segment.seek]
            if segment.no_speech_prob > _NO_SPEECH_PROBABILITY and segment.avg_logprob < _MIN_LOG_PROBABILITY:
                continue
            if segment.compression_ratio > _MAX_COMPRESSION:
                failed.add(index)
            offset = round(clips[index]["start"] * ASR_RATE_HZ)
            words[index] += [_word(word, offset) for word in segment.words or () if word.word.strip()]
        return words, sorted(failed)


def _left_out(chunk: _Heard, words: Sequence[Word]) -> _Heard | None:
    """What follows the last word, when there is much speech in it; a chunk of which nothing was understood is noise."""
    if not words:
        return None
    last = max(word.end for word in words)
    rest = [(max(start, last), end) for start, end in chunk.speech if end > last]
    if sum(end - start for start, end in rest) < _UNHEARD:
        return None
    heard = [(start, min(end, last)) for start, end in chunk.speech if start < last]
    if _level(chunk.samples, rest) < _LEFT_OUT_LEVEL * _level(chunk.samples, heard):
        return None
    start = rest[0][0]
    speech = tuple((begin - start, end - start) for begin, end in rest)
    return _Heard(chunk.samples[start:], speech, chunk.language, chunk.probability)


def _level(samples: Samples, regions: Sequence[Region]) -> float:
    """Root mean square of these parts; 0 of none."""
    parts = [samples[start:end] for start, end in regions]
    return float(np.sqrt(np.mean(np.square(np.concatenate(parts))))) if parts else 0.0


def _join(chunks: Sequence[Samples]) -> tuple[Samples, list[dict[str, float]]]:
    """One array and where each chunk is in it, in seconds.

    Chunks start at whole seconds: faster-whisper counts their start in hundredths and cuts off the rest.
    """
    parts: list[Samples] = []
    clips = []
    second = 0
    for samples in chunks:
        seconds = -(-samples.size // ASR_RATE_HZ)
        # Half a sample more, for it is multiplied by the rate and cut off as well.
        clips.append({"start": float(second), "end": second + (samples.size + 0.5) / ASR_RATE_HZ})
        parts.append(np.pad(samples, (0, seconds * ASR_RATE_HZ - samples.size)))
        second += seconds
    return np.concatenate(parts), clips


def _word(word: Any, offset: int) -> Word:
    start, end = (round(moment * ASR_RATE_HZ) - offset for moment in (word.start, word.end))
    return Word(word.word.strip(), start, end, float(word.probability))


def _timed_words(timed: Sequence[dict[str, Any]], audio: AudioChunk) -> tuple[Word, ...]:
    """Words on the timeline of `audio`. Those that the model could place nowhere are no words: it made them up."""
    words = []
    for word in timed:
        start, end = (audio.offset + round(float(word[edge]) * ASR_RATE_HZ) for edge in ("start", "end"))
        if word["word"].strip() and start < min(end, audio.end):
            words.append(Word(word["word"].strip(), start, min(end, audio.end), float(word["probability"])))
    return tuple(words)


def _seeming(ranking: Sequence[tuple[str, float]]) -> tuple[Language, float]:
    token, probability = ranking[0]
    code = token[2:-2]
    return Language(_TAGS.get(code, code)), float(probability)


def _transcript(request: TranscribeRequest, heard: _Heard, words: Sequence[Word], seeming: _Seeming) -> Transcript:
    offset = request.audio.offset
    placed = place_words(words, heard.speech, request.audio.length)
    return Transcript(
        tuple(Word(word.text, word.start + offset, word.end + offset, word.probability) for word in placed),
        _ENGLISH if request.task == "translate" else heard.language,
        heard.probability,
        *seeming,
    )
