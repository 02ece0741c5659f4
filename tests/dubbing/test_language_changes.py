"""Who speaks another language in the middle of a file is dubbed from that language."""

from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.asr.transcript import Transcript, Word
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk, Samples
from octavia_stream.dubbing.checkpoints import NoCheckpoints
from octavia_stream.dubbing.engines import local
from octavia_stream.dubbing.listening import Listener
from octavia_stream.dubbing.loudness import LoudnessContour
from octavia_stream.dubbing.pipeline import Corridor, DubbingPlan, FittedSegment
from octavia_stream.dubbing.progress import ProgressTracker
from octavia_stream.dubbing.speech_spool import SpeechSpool
from octavia_stream.events.event import JobEvent, Warned
from octavia_stream.languages import Language
from octavia_stream.mt.routes import Route, plan_route
from octavia_stream.mt.translator import Translation
from octavia_stream.testing import LevelDetector, ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator, tone
from octavia_stream.tts.voice import Voice

EN, ES, PT = Language("en"), Language("es"), Language("pt")
VOICE = Voice("scripted/ana", PT, "female", "scripted")
CHUNK_S = 24.0
PARTS = 5
LENGTH_S = PARTS * (CHUNK_S + 2.0)


class Bilingual(ScriptedTranscriber):
    """Hears the second and third part of the talk in another language, and is unsure of words in one not spoken."""

    def __init__(self, other: Language, confidence: float = 0.95) -> None:
        super().__init__()
        self.other = other
        self.confidence = confidence
        self.asked: set[Language | None] = set()

    def transcribe(self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe") -> Transcript:
        heard = super().transcribe(audio, language, task)
        part = (audio.offset + audio.length // 2) / ASR_RATE_HZ // (CHUNK_S + 2.0)
        spoken = self.other if 1 <= part <= 2 else EN
        self.asked.add(language)
        sure = self.confidence if language in (None, spoken) else 0.3
        words = tuple(Word(word.text, word.start, word.end, sure) for word in heard.words)
        return Transcript(words, language or spoken, 0.98, spoken, 0.98)


class Polyglot(ScriptedTranslator):
    """Says which language it was told."""

    def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        told = [f"{source} {sentence}" for sentence in sentences]
        return super().translate(told, source, target, hypotheses)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SpeechSpool]:
    with SpeechSpool(tmp_path / "speech.pcm") as opened:
        yield opened


def talk() -> Samples:
    parts = [part for _ in range(PARTS) for part in (tone(CHUNK_S, ASR_RATE_HZ).samples, np.zeros(2 * ASR_RATE_HZ))]
    return np.concatenate(parts).astype(np.float32)


async def blocks(samples: Samples) -> AsyncIterator[AudioChunk]:
    for start in range(0, len(samples), ASR_RATE_HZ):
        yield AudioChunk(samples[start : start + ASR_RATE_HZ], ASR_RATE_HZ, start)


def route(spoken: Language) -> Route:
    return plan_route(spoken, PT, {(EN, PT): "from English", (ES, PT): "from Spanish"})


async def dub(
    hearing: Bilingual, spool: SpeechSpool, source: Language | None = None
) -> tuple[list[FittedSegment], list[JobEvent]]:
    events: list[JobEvent] = []
    samples = talk()
    progress = ProgressTracker(events.append, len(samples))
    listener = Listener(LevelDetector(), LoudnessContour(ASR_RATE_HZ), progress)
    plan = DubbingPlan(source, PT, VOICE, route, {"transcribe": "a", "translate": "b", "synthesize": "c"})
    engines = local(hearing, Polyglot(), ScriptedSynthesizer())
    corridor = Corridor([plan], engines, NoCheckpoints(), progress, events.append)
    [fitted] = await corridor.run(blocks(samples), listener, [spool])
    return fitted, events


def spoken(fitted: list[FittedSegment]) -> list[Language]:
    """The languages that follow each other."""
    return [language for language, _ in groupby(item.segment.sentence.language for item in fitted)]


def changes(events: list[JobEvent]) -> list[str]:
    return [event.message for event in events if isinstance(event, Warned) and event.code == "language_changed"]


async def test_each_part_is_translated_from_what_is_spoken_there(spool: SpeechSpool) -> None:
    fitted, events = await dub(Bilingual(ES), spool)

    assert spoken(fitted) == [EN, ES, EN]
    assert all(item.segment.text.startswith(f"pt: {item.segment.sentence.language} ") for item in fitted)
    assert [item.segment.sentence.index for item in fitted] == list(range(len(fitted)))
    border = next(item for item in fitted if item.segment.sentence.language == ES).segment.sentence.start
    assert border == pytest.approx((CHUNK_S + 2) * ASR_RATE_HZ, abs=ASR_RATE_HZ)
    assert changes(events) == ["From 25.9 s on, Spanish is spoken.", "From 77.9 s on, English is spoken."]


async def test_what_is_in_the_language_of_the_dub_already_is_said_as_it_is(spool: SpeechSpool) -> None:
    fitted, _ = await dub(Bilingual(PT), spool)

    assert spoken(fitted) == [EN, PT, EN]
    for item in fitted:
        assert item.segment.text.startswith("pt: en") == (item.segment.sentence.language == EN)


async def test_whoever_says_what_is_spoken_is_believed(spool: SpeechSpool) -> None:
    hearing = Bilingual(ES)
    fitted, events = await dub(hearing, spool, source=EN)

    assert (spoken(fitted), changes(events), hearing.asked) == ([EN], [], {EN})


async def test_an_accent_is_no_other_language(spool: SpeechSpool) -> None:
    """It sounds like one, but the words make less sense in that."""
    fitted, events = await dub(Bilingual(ES, confidence=0.2), spool)

    assert (spoken(fitted), changes(events)) == ([EN], [])


async def test_a_language_from_which_nothing_translates_is_told_once(spool: SpeechSpool) -> None:
    fitted, events = await dub(Bilingual(Language("mi")), spool)

    assert spoken(fitted) == [EN]
    assert changes(events) == ["Some speech seems to be in Māori, from which this dub cannot be made."]
