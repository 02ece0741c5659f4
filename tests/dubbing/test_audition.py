"""What is heard of a finished dub, and how it is compared."""

import asyncio
from collections.abc import Callable

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.asr.transcript import Transcript, Word
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk, Samples
from octavia_stream.dubbing.audition import (
    MOST_REELS,
    PAUSE_S,
    REEL_S,
    Audition,
    AuditionPlan,
    Impression,
    auditioning,
    choose,
)
from octavia_stream.dubbing.matching import plain_words, word_errors
from octavia_stream.dubbing.segment import DubbedSegment, Placement, Sentence, Slot
from octavia_stream.errors import EngineUnavailable
from octavia_stream.languages import Language
from octavia_stream.tts.voice import Voice

PT = Language("pt")
VOICE = Voice("scripted/voice", PT, "neutral", "scripted")
RATE = 48_000


def segment(index: int, start_s: float, length_s: float, text: str = "uma raposa") -> DubbedSegment:
    start, length = round(start_s * ASR_RATE_HZ), round(length_s * ASR_RATE_HZ)
    sentence = Sentence(index, "a fox", Language("en"), start, start + length)
    slot = Slot(start, start + 2 * length)
    return DubbedSegment(sentence, text, VOICE, slot, 1.0, Placement(start, length, 1.0, 0, 0))


class Ear:
    """Understands each stretch of sound between silences as one word, by how loud it is."""

    def __init__(self, fails: type[Exception] | None = None, words: Callable[[int], str] = lambda place: "raposa"):
        self.asked: list[AudioChunk] = []
        self._fails = fails
        self._words = words

    async def transcribe(
        self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe"
    ) -> Transcript:
        self.asked.append(audio)
        assert language is None
        if self._fails is not None:
            raise self._fails("The recogniser is away.")
        loud = np.abs(audio.samples) > 0.01
        edges = np.flatnonzero(np.diff(np.convolve(loud, np.ones(800), "same") > 0, prepend=False, append=False))
        spans = zip(edges[::2], edges[1::2], strict=True)
        words = (Word(self._words(place), int(start), int(end), 1.0) for place, (start, end) in enumerate(spans))
        return Transcript(tuple(words), PT)


def mix_of(segments: list[DubbedSegment], length_s: float, channels: int) -> Samples:
    """A hum wherever a sentence sounds."""
    mix = np.zeros((round(length_s * RATE), channels), np.float32)
    for one in segments:
        start, end = (round(position / ASR_RATE_HZ * RATE) for position in (one.placement.start, one.placement.end))
        mix[start:end] = 0.1 * np.sin(np.arange(end - start) * 0.03)[:, None]
    return mix if channels > 1 else mix[:, 0]


async def impression_of(
    ear: Ear, segments: list[DubbedSegment], share: float, length_s: float = 60.0, channels: int = 2
) -> Impression:
    mix = mix_of(segments, length_s, channels)
    plan = AuditionPlan(share, "seed", attempts=1)
    async with auditioning(Audition(plan, ear, segments, length_s, RATE, channels)) as audition:
        for at in range(0, len(mix), 31_000):
            audition.push(mix[at : at + 31_000], at)
            audition.listen()
        return await audition.impression()


async def test_what_is_heard_again_is_compared_with_what_was_to_be_said() -> None:
    segments = [segment(0, 1, 4, "Raposa."), segment(1, 10, 4, "uma raposa"), segment(2, 40, 6, "dois cães e gatos")]
    ear = Ear()
    impression = await impression_of(ear, segments, share=1.0)
    assert [line.index for reel in impression.reels for line in reel.lines] == [0, 1, 2]
    assert [(line.words, line.errors) for reel in impression.reels for line in reel.lines] == [(1, 0), (2, 1), (4, 4)]
    assert {line.heard for reel in impression.reels for line in reel.lines} == {"raposa"}
    assert impression.unheard is None
    assert all(chunk.rate_hz == ASR_RATE_HZ and chunk.duration_s <= 30 for chunk in ear.asked)


async def test_the_mix_is_as_loud_as_a_reference_meter_says() -> None:
    segments = [segment(0, 1, 4), segment(1, 20, 9)]
    for channels in (1, 2):
        impression = await impression_of(Ear(), segments, share=0.0, channels=channels)
        reference = pyloudnorm.Meter(RATE).integrated_loudness(mix_of(segments, 60.0, channels).astype(np.float64))
        assert impression.loudness_lufs == pytest.approx(reference, abs=0.2)
        assert impression.peak_dbfs == pytest.approx(-20.0, abs=0.1)
        assert impression.mono_lufs == pytest.approx(impression.loudness_lufs - 3.01 * (channels - 1), abs=0.01)


async def test_a_file_too_short_for_its_share_is_not_heard_again() -> None:
    ear = Ear()
    impression = await impression_of(ear, [segment(0, 1, 4)], share=0.05)
    assert (impression.reels, ear.asked) == ((), [])
    assert impression.unheard is not None
    assert "too short" in impression.unheard


async def test_a_recogniser_that_fails_is_told_and_harms_nothing() -> None:
    for error in (EngineUnavailable, RuntimeError):
        impression = await impression_of(Ear(error), [segment(0, 1, 4)], share=1.0)
        assert impression.reels == ()
        assert impression.unheard
        assert impression.loudness_lufs > -40


async def test_leaving_ends_what_is_still_being_heard() -> None:
    class Slow(Ear):
        async def transcribe(
            self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe"
        ) -> Transcript:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            raise AssertionError("nobody sets it")

    begun, ended = asyncio.Event(), asyncio.Event()
    segments = [segment(0, 1, 4)]
    mix = mix_of(segments, 60.0, 1)
    async with auditioning(Audition(AuditionPlan(1.0, ""), Slow(), segments, 60.0, RATE, 1)) as audition:
        audition.push(mix, 0)
        audition.listen()
        await begun.wait()
    async with asyncio.timeout(30):
        await ended.wait()


@given(st.lists(st.floats(0.2, 30.0), max_size=60), st.floats(0, 1), st.text(max_size=5))
def test_a_sample_is_the_same_every_time_and_never_more_than_its_share(
    lengths: list[float], share: float, seed: str
) -> None:
    segments, at_s = [], 0.0
    for index, length_s in enumerate(lengths):
        segments.append(segment(index, at_s, length_s))
        at_s += length_s + 0.5
    reels = choose(AuditionPlan(share, seed), segments, at_s, ASR_RATE_HZ)
    assert reels == choose(AuditionPlan(share, seed), segments, at_s, ASR_RATE_HZ)
    assert len(reels) <= min(share * at_s / REEL_S, MOST_REELS)
    for reel in reels:
        assert sum((take.end - take.start) / ASR_RATE_HZ + PAUSE_S for take in reel) <= REEL_S + 1e-3
    starts = [take.start for reel in reels for take in reel]
    assert starts == sorted(starts)


def test_what_a_listener_cannot_tell_apart_is_the_same() -> None:
    assert plain_words("Em 12 dias, não!", PT) == ["em", "doze", "dias", "não"]
    assert plain_words("It's so.", Language("en")) == ["its", "so"]
    assert plain_words("今日は、晴れ", Language("ja")) == list("今日は晴れ")


def test_errors_are_words_that_are_wrong_missing_or_too_many() -> None:
    said = ["a", "b", "c", "d"]
    assert word_errors(said, said) == 0
    assert word_errors(said, ["a", "x", "c"]) == 2
    assert word_errors(said, ["a", "b", "b", "c", "d"]) == 1
    assert word_errors(said, []) == 4
    assert word_errors([], said) == 4
