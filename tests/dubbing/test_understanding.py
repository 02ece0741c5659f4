"""What is spoken in a file is decided by its first words, however soon later ones are understood."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.asr.transcript import Transcript, Word
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.dubbing.checkpoints import NoCheckpoints
from octavia_stream.dubbing.listening import SpeechChunk
from octavia_stream.dubbing.once import Once
from octavia_stream.dubbing.understanding import Understanding
from octavia_stream.errors import InvalidRequest
from octavia_stream.languages import Language

EN, ES, UNKNOWN = Language("en"), Language("es"), Language("und")
Answer = Callable[[Language | None], Transcript]


class Ears:
    """Understands a chunk when it is told to."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = answers
        self.asked: list[tuple[int, Language | None, AsrTask]] = []
        self.ready = [asyncio.Event() for _ in answers]

    async def transcribe(
        self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe"
    ) -> Transcript:
        index = audio.offset // ASR_RATE_HZ
        self.asked.append((index, language, task))
        await self.ready[index].wait()
        return self.answers[index](language)


def spoken(language: Language, sure_of_others: float = 0.2) -> Answer:
    """Somebody speaks a language; told another, the model is so sure of its words."""

    def answer(told: Language | None) -> Transcript:
        sure = 0.9 if told in (None, language) else sure_of_others
        return Transcript((Word("word", 0, 1, sure),), told or language, 0.98, language, 0.98)

    return answer


def silent(told: Language | None) -> Transcript:
    return Transcript((), told or UNKNOWN, 0.0)


class Dub:
    """Chunks of a file that are understood at once."""

    def __init__(self, ears: Ears, task: AsrTask = "transcribe") -> None:
        self.decided: list[Language] = []
        once = Once(NoCheckpoints(), 1)
        self.understanding = Understanding(ears, once, "model", None, self._decide, lambda _: True)
        self._task = task
        silence = np.zeros(ASR_RATE_HZ, np.float32)
        chunks = [SpeechChunk(n, AudioChunk(silence, ASR_RATE_HZ, n * ASR_RATE_HZ), 0) for n in range(len(ears.ready))]
        self.tasks = [asyncio.create_task(self.understanding.understand(chunk)) for chunk in chunks]

    def _decide(self, language: Language) -> AsrTask:
        self.decided.append(language)
        return self._task

    async def languages(self) -> list[Language]:
        return [transcript.language for transcript in await asyncio.gather(*self.tasks)]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_two_chunks_are_listened_to_before_it_is_known_what_is_spoken_and_the_others_wait() -> None:
    ears = Ears(*[spoken(EN)] * 4)
    dub = Dub(ears)
    await settle()
    assert ears.asked == [(0, None, "transcribe"), (1, None, "transcribe")]

    for ready in ears.ready:
        ready.set()
    assert await dub.languages() == [EN] * 4
    assert ears.asked[2:] == [(2, EN, "transcribe"), (3, EN, "transcribe")]
    assert dub.decided == [EN]


async def test_the_first_words_decide_even_when_the_second_are_understood_sooner() -> None:
    ears = Ears(spoken(EN), spoken(ES, sure_of_others=0.95), spoken(EN))
    dub = Dub(ears)
    ears.ready[1].set()
    await settle()
    assert dub.decided == []

    ears.ready[0].set()
    ears.ready[2].set()
    assert await dub.languages() == [EN, EN, EN], "the second makes as much sense in the language of the file"
    assert dub.decided == [EN]


async def test_a_second_chunk_that_is_truly_in_another_language_is_asked_for_no_third_time() -> None:
    ears = Ears(spoken(EN), spoken(ES))
    dub = Dub(ears)
    for ready in ears.ready:
        ready.set()
    assert await dub.languages() == [EN, ES]
    assert [asked for asked in ears.asked if asked[0] == 1] == [(1, None, "transcribe"), (1, EN, "transcribe")]


async def test_silence_decides_nothing() -> None:
    ears = Ears(silent, silent, silent, spoken(ES), spoken(ES))
    dub = Dub(ears)
    for ready in ears.ready:
        ready.set()
    assert await dub.languages() == [UNKNOWN, UNKNOWN, UNKNOWN, ES, ES]
    assert [told for _, told, _ in ears.asked] == [None, None, None, None, ES]
    assert dub.decided == [ES]


async def test_what_recognition_translates_is_asked_for_again() -> None:
    ears = Ears(spoken(ES), spoken(ES), spoken(ES))
    dub = Dub(ears, task="translate")
    for ready in ears.ready:
        ready.set()
    await dub.languages()
    assert sorted(asked for asked in ears.asked if asked[1]) == [(n, ES, "translate") for n in range(3)]


async def test_whoever_fails_first_keeps_nobody_waiting() -> None:
    def broken(_: Language | None) -> Transcript:
        raise InvalidRequest("This cannot be heard.")

    ears = Ears(broken, spoken(EN), spoken(EN))
    dub = Dub(ears)
    ears.ready[1].set()
    ears.ready[2].set()
    await settle()
    assert not dub.tasks[1].done()

    ears.ready[0].set()
    with pytest.raises(InvalidRequest):
        await dub.tasks[0]
    assert [(await task).language for task in dub.tasks[1:]] == [EN, EN]
    assert dub.decided == [EN]
