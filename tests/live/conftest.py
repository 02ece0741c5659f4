"""A conversation in virtual time: words at set times, engines that cost what a test says, and what came of it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import pytest

from octavia_stream.asr.transcriber import AsrTask, Follow
from octavia_stream.asr.transcript import Transcript, Word
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk, Samples
from octavia_stream.dubbing.engines import Engines
from octavia_stream.languages import Language
from octavia_stream.live.events import AnyLiveEvent, LiveRecord
from octavia_stream.live.frame import Frame
from octavia_stream.live.options import LiveOptions, LiveTarget
from octavia_stream.live.room import LiveRoom
from octavia_stream.live.state import RoomState
from octavia_stream.mt.translator import Hypothesis, Translation
from octavia_stream.testing import FollowingTranscriber, LevelDetector, ScriptedSynthesizer
from octavia_stream.tts.voice import Voice
from octavia_stream.virtual_time import VirtualTimeLoop

EN, PT, ES = Language("en"), Language("pt"), Language("es")
T = TypeVar("T")
TO_PT = LiveOptions(targets=(LiveTarget(PT),), source=EN)


def words_at(text: str, start_s: float = 0.5, each_s: float = 0.35) -> list[Word]:
    """One word after the other, without a pause."""
    step = round(each_s * ASR_RATE_HZ)
    first = round(start_s * ASR_RATE_HZ)
    return [Word(word, first + i * step, first + (i + 1) * step, 0.9) for i, word in enumerate(text.split())]


def sound_of(words: Sequence[Word], seconds: float) -> Samples:
    """Loud where words are."""
    samples = np.zeros(round(seconds * ASR_RATE_HZ), np.float32)
    for word in words:
        samples[word.start : word.end] = 0.1
    return samples


@dataclass
class Delays:
    """What calls take, in virtual seconds, and what they raise instead of answering."""

    transcribe_s: float = 0.05
    translate_s: float = 0.01
    synthesize_s: float = 0.1
    broken: dict[str, Exception] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    said: list[tuple[int, str]] = field(default_factory=list)
    """With each question to recognition: where its sound begins, and what it was told of what was said before."""

    async def spend(self, stage: str, what: str, seconds: float) -> None:
        self.calls.append((stage, what))
        await asyncio.sleep(seconds)
        if stage in self.broken:
            raise self.broken[stage]


class _Transcriber:
    def __init__(self, script: FollowingTranscriber, delays: Delays) -> None:
        self._script, self._delays = script, delays

    async def transcribe(
        self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe"
    ) -> Transcript:
        if isinstance(task, Follow):
            self._delays.said.append((audio.offset, task.said))
        await self._delays.spend("transcribe", f"{audio.offset}-{audio.end}", self._delays.transcribe_s)
        return self._script.transcribe(audio, language, task)


class _Translator:
    """`fox` becomes `fox-pt`."""

    def __init__(self, delays: Delays) -> None:
        self._delays = delays

    async def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        await self._delays.spend("translate", sentences[0], self._delays.translate_s)
        return [
            Translation(text, (Hypothesis(" ".join(f"{word}-{target}" for word in text.split()), 0.0),))
            for text in sentences
        ]


class _Synthesizer:
    def __init__(self, delays: Delays) -> None:
        self._delays, self._voice = delays, ScriptedSynthesizer()

    async def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        await self._delays.spend("synthesize", f"{voice.id}: {text}", self._delays.synthesize_s)
        # A pace at which what the double says fits: it makes words longer.
        return self._voice.synthesize(text, replace(voice, characters_per_second=30.0), speed)


def scripted(words: Sequence[Word], delays: Delays | None = None, language: Language = EN) -> Engines:
    """Engines that hear these words."""
    delays = delays or Delays()
    return Engines(
        _Transcriber(FollowingTranscriber(words, language), delays), _Translator(delays), _Synthesizer(delays)
    )


def choose(language: Language, wanted: str | None, taken: Collection[str]) -> Voice:
    """Three voices a language."""
    ids = [wanted] if wanted else [name for n in range(3) if (name := f"{language}-{n}") not in taken]
    return Voice(ids[0], language, "neutral", "scripted")


@dataclass(repr=False)
class Conversation:
    """What came of it. `Runner` represents what it returns, which takes seconds for so many frames."""

    room: LiveRoom
    records: list[LiveRecord]
    frames: dict[Language, list[Frame]]

    def of(self, kind: type[T]) -> list[T]:
        """Events of one kind, in order."""
        return [record.event for record in self.records if isinstance(record.event, kind)]

    @property
    def events(self) -> list[AnyLiveEvent]:
        return [record.event for record in self.records]


async def talk(
    engines: Engines,
    sounds: dict[str, Samples],
    options: LiveOptions = TO_PT,
    state: RoomState | None = None,
    meanwhile: Callable[[LiveRoom], Awaitable[None]] | None = None,
) -> Conversation:
    """Everybody speaks at the pace of speech, from the start; then the room is closed."""
    loop = asyncio.get_running_loop()
    room = LiveRoom(options, engines, LevelDetector, choose, state, loop.time)
    frames: dict[Language, list[Frame]] = {target.language: [] for target in options.targets}

    async def hear(language: Language) -> None:
        async for frame in room.listen(language):
            frames[language].append(frame)

    async def say(name: str, samples: Samples) -> None:
        speaker = room.speaker(name)
        for start in range(0, len(samples), 320):
            await asyncio.sleep(0.02)
            speaker.push(samples[start : start + 320])

    async with asyncio.TaskGroup() as group:
        group.create_task(room.run())
        for language in frames:
            group.create_task(hear(language))
        if meanwhile:
            group.create_task(meanwhile(room))  # type: ignore[arg-type]  # any coroutine will do
        async with asyncio.TaskGroup() as speaking:
            for name, samples in sounds.items():
                speaking.create_task(say(name, samples))
        await room.close("said")
    return Conversation(room, [record async for record in room.events()], frames)


def in_virtual_time(conversation: Awaitable[T]) -> T:
    """Run to the end, without waiting."""

    async def run() -> T:
        return await conversation

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(run())


@pytest.fixture
def delays() -> Delays:
    """Quick engines, for a test to slow down or break."""
    return Delays()
