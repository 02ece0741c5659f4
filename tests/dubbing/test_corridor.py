"""The corridor moves a whole file through three engines: in order, in parallel, once, and again after a crash."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.asr.transcript import Transcript, Word
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk, Samples
from octavia_stream.dubbing import retrying
from octavia_stream.dubbing.checkpoints import Checkpoints, NoCheckpoints, Stage
from octavia_stream.dubbing.engines import Engines, local
from octavia_stream.dubbing.listening import Listener
from octavia_stream.dubbing.loudness import LoudnessContour
from octavia_stream.dubbing.pipeline import CHUNKS_AT_FIRST, Corridor, DubbingPlan, FittedSegment
from octavia_stream.dubbing.progress import ProgressTracker
from octavia_stream.dubbing.speech_spool import SpeechSpool
from octavia_stream.dubbing.understanding import EARLY_CHUNKS
from octavia_stream.errors import EngineUnavailable, UnsupportedLanguage
from octavia_stream.events.event import JobEvent, SegmentDubbed, Warned
from octavia_stream.languages import Language
from octavia_stream.mt.routes import Route, plan_route
from octavia_stream.testing import WORDS, Journal, ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator, tone
from octavia_stream.tts.voice import Voice
from octavia_stream.vad.detector import VAD_FRAME_SAMPLES, Probabilities

EN, PT = Language("en"), Language("pt")
VOICE = Voice("scripted/voice", PT, "neutral", "scripted", characters_per_second=16.0)


class EnergyDetector:
    """Speech is whatever is not silent: enough where the sound is made by the test."""

    def __init__(self) -> None:
        self._rest: Samples = np.zeros(0, np.float32)

    def push(self, samples: Samples) -> Probabilities:
        heard = np.concatenate([self._rest, samples])
        whole = len(heard) // VAD_FRAME_SAMPLES * VAD_FRAME_SAMPLES
        self._rest = heard[whole:]
        peaks = np.abs(heard[:whole]).reshape(-1, VAD_FRAME_SAMPLES).max(axis=1)
        loud: Probabilities = (peaks > 0.01).astype(np.float32)
        return loud

    def finish(self) -> Probabilities:
        return np.zeros(0, np.float32)


class KeptCheckpoints:
    """Checkpoints in memory, with a journal of what was begun."""

    def __init__(self) -> None:
        self.saved: dict[tuple[str, int, str], bytes] = {}
        self.begun: list[tuple[str, int]] = []

    async def load(self, stage: Stage, index: int, digest: str) -> bytes | None:
        return self.saved.get((stage, index, digest))

    async def begin(self, stage: Stage, index: int, digest: str) -> None:
        self.begun.append((stage, index))

    async def save(self, stage: Stage, index: int, digest: str, payload: bytes) -> None:
        self.saved[stage, index, digest] = payload


def speech(*seconds: float, pause_s: float = 2.0) -> Samples:
    """Tones of these lengths with silence after each."""
    silence = np.zeros(round(pause_s * ASR_RATE_HZ), np.float32)
    return np.concatenate([part for s in seconds for part in (tone(s, ASR_RATE_HZ).samples, silence)])


async def blocks(samples: Samples) -> AsyncIterator[AudioChunk]:
    for start in range(0, len(samples), ASR_RATE_HZ):
        yield AudioChunk(samples[start : start + ASR_RATE_HZ], ASR_RATE_HZ, start)


def english_to_portuguese(spoken: Language) -> Route:
    return plan_route(spoken, PT, {(EN, PT): "scripted"})


def plan(source: Language | None = EN) -> DubbingPlan:
    return DubbingPlan(
        source, PT, VOICE, english_to_portuguese, {"transcribe": "a", "translate": "b", "synthesize": "c"}
    )


DE = Language("de")
GERMAN_VOICE = Voice("scripted/german", DE, "neutral", "scripted", characters_per_second=15.0)


def german_plan(source: Language | None = EN) -> DubbingPlan:
    def route(spoken: Language) -> Route:
        # No pair of texts leads there from Spanish: recognition itself translates.
        return plan_route(spoken, DE, {(EN, DE): "scripted"})

    return DubbingPlan(source, DE, GERMAN_VOICE, route, plan().fingerprints)


def engines(journal: Path | None = None) -> Engines:
    return local(
        ScriptedTranscriber(journal=journal), ScriptedTranslator(journal=journal), ScriptedSynthesizer(journal=journal)
    )


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SpeechSpool]:
    with SpeechSpool(tmp_path / "speech.pcm") as opened:
        yield opened


async def dub(
    samples: Samples,
    with_engines: Engines,
    spool: SpeechSpool,
    checkpoints: Checkpoints | None = None,
    source: Language | None = EN,
    told: list[JobEvent] | None = None,
) -> list[FittedSegment]:
    events = told if told is not None else []
    progress = ProgressTracker(events.append, len(samples))
    listener = Listener(EnergyDetector(), LoudnessContour(ASR_RATE_HZ), progress)
    corridor = Corridor([plan(source)], with_engines, checkpoints or NoCheckpoints(), progress, events.append)
    return (await corridor.run(blocks(samples), listener, [spool]))[0]


async def test_every_sentence_is_spoken_at_its_place_in_order_and_without_overlap(spool: SpeechSpool) -> None:
    told: list[JobEvent] = []
    samples = speech(*[9.0] * 12)
    fitted = await dub(samples, engines(), spool, told=told)
    assert len(fitted) >= 12
    for item, following in pairwise(fitted):
        assert item.segment.placement.end <= following.segment.placement.start
        assert item.segment.sentence.index + 1 == following.segment.sentence.index
    assert all(item.segment.text.startswith("pt: ") for item in fitted)
    assert fitted[-1].segment.placement.end <= len(samples)
    assert [event.index for event in told if isinstance(event, SegmentDubbed)] == list(range(len(fitted)))


async def test_fitted_speech_is_as_long_as_its_placement_says(spool: SpeechSpool) -> None:
    for item in await dub(speech(4.0, 4.0, 9.0, pause_s=0.6), engines(), spool):
        natural = item.speech.length / item.speech.rate_hz
        assert natural == pytest.approx(item.segment.placement.length / ASR_RATE_HZ, abs=0.001)
        assert spool.read(item.speech).length == item.speech.length


async def test_what_was_finished_is_never_done_again(spool: SpeechSpool, tmp_path: Path) -> None:
    checkpoints = KeptCheckpoints()
    samples = speech(*[9.0] * 6)
    first = await dub(samples, engines(), spool, checkpoints)
    begun = list(checkpoints.begun)
    journal = tmp_path / "journal"
    second = await dub(samples, engines(journal), spool, checkpoints)
    assert Journal(journal).read() == []
    assert checkpoints.begun == begun
    assert [item.segment for item in first] == [item.segment for item in second]


class BreakingSynthesizer(ScriptedSynthesizer):
    """Breaks at its sixth sentence, as a defect does."""

    calls = 0

    def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        self.calls += 1
        if self.calls == 6:
            raise RuntimeError("broken")
        return super().synthesize(text, voice, speed)


async def test_a_crash_in_the_middle_costs_only_what_was_in_flight(spool: SpeechSpool, tmp_path: Path) -> None:
    checkpoints = KeptCheckpoints()
    samples = speech(*[9.0] * 8)
    whole = await dub(samples, engines(), spool)
    broken = BreakingSynthesizer()
    with pytest.raises(ExceptionGroup):
        await dub(samples, local(ScriptedTranscriber(), ScriptedTranslator(), broken), spool, checkpoints)
    done = set(checkpoints.saved)
    journal = tmp_path / "journal"
    resumed = await dub(samples, engines(journal), spool, checkpoints)
    assert [item.segment for item in resumed] == [item.segment for item in whole]
    spoken_again = [call.items[0] for call in Journal(journal).read() if call.stage == "synthesize"]
    spoken_before = len([1 for stage, _, _ in done if stage == "synthesize"])
    # How many reached the checkpoints around the sixth, which broke, is a race; some did, and the sixth did not.
    assert 4 <= spoken_before < len(whole)
    assert len(spoken_again) == len(whole) - spoken_before


class DyingTranslator(ScriptedTranslator):
    """Dies twice, as a replica that is killed does."""

    deaths = 2

    def translate(self, *args: object, **options: object) -> "list[object]":  # type: ignore[override]
        if self.deaths:
            self.deaths -= 1
            raise EngineUnavailable
        return super().translate(*args, **options)  # type: ignore[arg-type, return-value]


async def test_a_replica_that_dies_is_asked_again(spool: SpeechSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_PAUSE_S", 0.0)
    with_deaths = local(ScriptedTranscriber(), DyingTranslator(), ScriptedSynthesizer())  # type: ignore[arg-type]
    assert len(await dub(speech(9.0), with_deaths, spool)) > 0


async def dub_twice(
    samples: Samples,
    with_engines: Engines,
    folder: Path,
    checkpoints: Checkpoints,
    source: Language | None = EN,
    told: list[JobEvent] | None = None,
) -> list[list[FittedSegment]]:
    """Into Portuguese and German at once."""
    events = told if told is not None else []
    progress = ProgressTracker(events.append, len(samples), lanes=2)
    listener = Listener(EnergyDetector(), LoudnessContour(ASR_RATE_HZ), progress)
    plans = [plan(source), german_plan(source)]
    corridor = Corridor(plans, with_engines, checkpoints, progress, events.append)
    with SpeechSpool(folder / "pt.pcm") as first, SpeechSpool(folder / "de.pcm") as second:
        return await corridor.run(blocks(samples), listener, [first, second])


async def test_two_languages_share_what_was_heard(spool: SpeechSpool, tmp_path: Path) -> None:
    samples = speech(*[9.0] * 6)
    alone, together = tmp_path / "alone", tmp_path / "together"
    await dub(samples, engines(alone), spool)
    told: list[JobEvent] = []
    portuguese, german = await dub_twice(samples, engines(together), tmp_path, NoCheckpoints(), told=told)

    def heard(journal: Path) -> list[str]:
        return sorted(call.items[0] for call in Journal(journal).read() if call.stage == "transcribe")

    assert heard(together) == heard(alone)
    assert [item.segment.sentence for item in portuguese] == [item.segment.sentence for item in german]
    assert {item.segment.text[:3] for item in portuguese} == {"pt:"}
    assert {item.segment.text[:3] for item in german} == {"de:"}
    spoken = [event for event in told if isinstance(event, SegmentDubbed)]
    for language in (PT, DE):
        assert [event.index for event in spoken if event.language == language] == list(range(len(german)))


async def test_what_one_language_had_finished_is_not_done_again_when_another_breaks(tmp_path: Path) -> None:
    checkpoints = KeptCheckpoints()
    samples = speech(*[9.0] * 6)
    whole = await dub_twice(samples, engines(), tmp_path, NoCheckpoints())
    broken = local(ScriptedTranscriber(), ScriptedTranslator(), BreakingSynthesizer())
    with pytest.raises(ExceptionGroup):
        await dub_twice(samples, broken, tmp_path, checkpoints)
    done = {key for key in checkpoints.saved if key[0] == "synthesize"}
    journal = tmp_path / "journal"
    resumed = await dub_twice(samples, engines(journal), tmp_path, checkpoints)
    assert [[item.segment for item in lane] for lane in resumed] == [[item.segment for item in lane] for lane in whole]
    spoken_again = [call for call in Journal(journal).read() if call.stage == "synthesize"]
    assert len(spoken_again) == sum(map(len, whole)) - len(done) > 0


async def test_recognition_is_asked_for_both_its_tasks_only_when_languages_need_both(
    spool: SpeechSpool, tmp_path: Path
) -> None:
    asked: list[tuple[int, str]] = []

    class Recording(ScriptedTranscriber):
        def transcribe(self, audio, language, task="transcribe"):  # type: ignore[no-untyped-def]
            asked.append((audio.offset, task))
            return super().transcribe(audio, language, task)

    spanish = Language("es")

    def to_portuguese(spoken: Language) -> Route:
        return plan_route(spoken, PT, {(spanish, PT): "scripted"})

    samples = speech(*[9.0] * 6)
    progress = ProgressTracker(lambda _: None, len(samples), lanes=2)
    listener = Listener(EnergyDetector(), LoudnessContour(ASR_RATE_HZ), progress)
    plans = [dataclasses.replace(plan(spanish), route=to_portuguese), german_plan(spanish)]
    with_ears = local(Recording(), ScriptedTranslator(), ScriptedSynthesizer())
    corridor = Corridor(plans, with_ears, NoCheckpoints(), progress, lambda _: None)
    with SpeechSpool(tmp_path / "other.pcm") as other:
        portuguese, german = await corridor.run(blocks(samples), listener, [spool, other])
    offsets = {offset for offset, _ in asked}
    assert sorted(asked) == sorted((offset, task) for offset in offsets for task in ("transcribe", "translate"))
    assert {item.segment.sentence.language for item in portuguese} == {spanish}
    assert {item.segment.sentence.language for item in german} == {EN}


async def test_the_language_is_detected_at_the_beginning_and_kept(spool: SpeechSpool) -> None:
    asked: list[Language | None] = []

    class Recording(ScriptedTranscriber):
        def transcribe(self, audio, language, task="transcribe"):  # type: ignore[no-untyped-def]
            asked.append(language)
            return super().transcribe(audio, language, task)

    with_ears = local(Recording(), ScriptedTranslator(), ScriptedSynthesizer())
    await dub(speech(*[9.0] * 9), with_ears, spool, source=None)
    assert asked[:EARLY_CHUNKS] == [None] * EARLY_CHUNKS
    assert asked[EARLY_CHUNKS:] == [EN] * (len(asked) - EARLY_CHUNKS)
    assert len(asked) > EARLY_CHUNKS + 1


class Reader(ScriptedTranscriber):
    """Hears one long reading: which word it is depends on where in the file it stands, not on where a chunk begins."""

    STEP = ASR_RATE_HZ // 2

    def __init__(self) -> None:
        super().__init__()
        self.borders: list[int] = []

    def transcribe(self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe") -> Transcript:
        self.borders.append(audio.offset)
        first = -(-audio.offset // self.STEP)
        places = range(first, -(-audio.end // self.STEP))
        words = (
            Word(WORDS[place % len(WORDS)], place * self.STEP, min(place * self.STEP + 6000, audio.end), 1.0)
            for place in places
        )
        return Transcript(tuple(words), EN)


async def test_speech_without_a_pause_is_cut_and_its_sentences_are_translated_whole(
    spool: SpeechSpool, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    ears = Reader()
    with_engines = local(ears, ScriptedTranslator(journal=journal), ScriptedSynthesizer())
    sentence = " ".join(WORDS)
    whole = 17
    samples = tone(whole * len(WORDS) / 2, ASR_RATE_HZ).samples
    fitted = await dub(samples, with_engines, spool)
    within = [border for border in ears.borders if border % (len(WORDS) * Reader.STEP)]
    assert len(within) > 1, "chunks begin in the middle of sentences"
    translated = [text for call in Journal(journal).read() for text in call.items]
    assert set(translated) == {sentence}, "and part none"
    assert [item.segment.sentence.text for item in fitted] == [sentence] * whole
    starts = [item.segment.sentence.start for item in fitted]
    assert starts == [number * len(WORDS) * Reader.STEP for number in range(whole)]


@pytest.mark.parametrize("wordless", [0, 5])
async def test_no_more_chunks_are_listened_to_before_the_first_sentence_is_spoken(
    spool: SpeechSpool, wordless: int
) -> None:
    """Somebody may wait to hear it. Chunks in which nobody speaks, music perhaps, do not count."""
    heard: list[int] = []
    at_first: list[int] = []

    class Ears(ScriptedTranscriber):
        def transcribe(self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe") -> Transcript:
            heard.append(audio.offset)
            transcript = super().transcribe(audio, language, task)
            return transcript if len(heard) > wordless else Transcript((), EN)

    class Voices(ScriptedSynthesizer):
        def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
            if not at_first:
                time.sleep(0.3)
                at_first.append(len(heard))
            return super().synthesize(text, voice, speed)

    fitted = await dub(speech(*[9.0] * 30), local(Ears(), ScriptedTranslator(), Voices()), spool)

    assert at_first[0] <= wordless + CHUNKS_AT_FIRST
    assert len(heard) > wordless + CHUNKS_AT_FIRST
    assert fitted[-1].segment.sentence.end > 250 * ASR_RATE_HZ


async def test_silence_has_nothing_to_dub(spool: SpeechSpool) -> None:
    assert await dub(np.zeros(30 * ASR_RATE_HZ, np.float32), engines(), spool, source=None) == []


async def test_a_language_without_a_path_is_refused_with_the_reason(spool: SpeechSpool) -> None:
    class German(ScriptedTranscriber):
        def transcribe(self, audio, language, task="transcribe"):  # type: ignore[no-untyped-def]
            if task == "translate":
                raise AssertionError("not asked for")
            return super().transcribe(audio, Language("de"), task)

    def no_route(spoken: Language) -> Route:
        raise UnsupportedLanguage(f"nothing from {spoken}")

    progress = ProgressTracker(lambda _: None, 1)
    listener = Listener(EnergyDetector(), LoudnessContour(ASR_RATE_HZ), progress)
    wanted = DubbingPlan(None, PT, VOICE, no_route, plan().fingerprints)
    with_ears = local(German(), ScriptedTranslator(), ScriptedSynthesizer())
    corridor = Corridor([wanted], with_ears, NoCheckpoints(), progress, lambda _: None)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(20):
            await corridor.run(blocks(speech(9.0)), listener, [spool])
    assert caught.group_contains(UnsupportedLanguage, match="nothing from de")


class Poisoned(ScriptedSynthesizer):
    """Dies whenever it is asked for one sentence, and counts how often."""

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self._sentence = sentence
        self.deaths = 0

    def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        if text == self._sentence:
            self.deaths += 1
            raise EngineUnavailable
        return super().synthesize(text, voice, speed)


async def poisoned(
    samples: Samples, with_engines: Engines, spool: SpeechSpool, told: list[JobEvent], *, keep_original: bool
) -> list[FittedSegment]:
    progress = ProgressTracker(told.append, len(samples))
    listener = Listener(EnergyDetector(), LoudnessContour(ASR_RATE_HZ), progress)
    wanted = dataclasses.replace(plan(), keep_original=keep_original)
    corridor = Corridor([wanted], with_engines, NoCheckpoints(), progress, told.append)
    return (await corridor.run(blocks(samples), listener, [spool]))[0]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_PAUSE_S", 0.0)


async def test_a_sentence_that_kills_every_voice_stays_as_it_was_and_the_others_are_dubbed(
    spool: SpeechSpool, impatient: None
) -> None:
    # Of different lengths, so that every sentence is another text.
    samples = speech(4.5, 3.5, 2.5, 1.5)
    whole = await dub(samples, engines(), spool)
    victim = whole[1].segment
    voice, told = Poisoned(victim.text), list[JobEvent]()
    with_poison = local(ScriptedTranscriber(), ScriptedTranslator(), voice)
    fitted = await poisoned(samples, with_poison, spool, told, keep_original=True)
    same = [item for item in whole if item.segment.text == victim.text]
    assert voice.deaths == plan().attempts * len(same)
    kept = [item for item in fitted if item.segment.kept_original]
    assert [item.segment.text for item in kept] == [victim.text] * len(same)
    assert all(item.speech.length == 0 and item.segment.spoken_over == () for item in kept)
    others = [item.segment.text for item in fitted if not item.segment.kept_original]
    assert others == [item.segment.text for item in whole if item.segment.text != victim.text]
    assert [event.code for event in told if isinstance(event, Warned)] == ["not_spoken"] * len(same)
    for item, following in pairwise(fitted):
        assert item.segment.placement.end <= following.segment.placement.start


async def test_without_leave_a_sentence_that_nobody_can_speak_ends_the_dub(spool: SpeechSpool, impatient: None) -> None:
    samples = speech(4.5, 3.5)
    text = (await dub(samples, engines(), spool))[0].segment.text
    with_poison = local(ScriptedTranscriber(), ScriptedTranslator(), Poisoned(text))
    with pytest.raises(ExceptionGroup) as caught:
        await poisoned(samples, with_poison, spool, [], keep_original=False)
    assert caught.group_contains(EngineUnavailable)


async def test_a_chunk_that_nobody_understands_is_left_out(spool: SpeechSpool, impatient: None) -> None:
    class Deaf(ScriptedTranscriber):
        def transcribe(self, audio, language, task="transcribe"):  # type: ignore[no-untyped-def]
            if audio.offset == 0:
                raise EngineUnavailable
            return super().transcribe(audio, language, task)

    samples, told = speech(*[9.0] * 9), list[JobEvent]()
    with_ears = local(Deaf(), ScriptedTranslator(), ScriptedSynthesizer())
    fitted = await poisoned(samples, with_ears, spool, told, keep_original=True)
    whole = await dub(samples, engines(), spool)
    assert 0 < len(fitted) < len(whole)
    assert [event.code for event in told if isinstance(event, Warned)] == ["not_understood"]
