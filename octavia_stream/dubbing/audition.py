"""The dub, heard: how loud all of it is, and what somebody who listens to parts of it understands."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import structlog
from numpy.typing import NDArray

from octavia_stream.asr.transcriber import Transcriber
from octavia_stream.asr.transcript import Transcript, Word
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk, Samples
from octavia_stream.audio.levels import decibels
from octavia_stream.audio.resampling import resample
from octavia_stream.dubbing.loudness import IntegratedLoudness
from octavia_stream.dubbing.matching import plain_words, word_errors
from octavia_stream.dubbing.punctuation import join_words
from octavia_stream.dubbing.retrying import with_retries
from octavia_stream.dubbing.segment import DubbedSegment, HeardLine
from octavia_stream.dubbing.speech_spool import from_int16, to_int16
from octavia_stream.errors import OctaviaError
from octavia_stream.languages import Language

log = structlog.get_logger()

REEL_S = 28.0
"""Sentences are joined into reels of this length, for Whisper takes as long for less."""
PAUSE_S = 0.5
"""Silence between two sentences of a reel."""
MARGIN_S = 0.03
"""What is heard of the dub before and after a sentence: half of the breath between two of them."""
SHORTEST_S = 1.0
"""A word or two say little about a dub."""
HEARD_AT_ONCE = 2
"""Of the reels: the others wait as 16 bit."""
MOST_REELS = 10
"""More than these tell nothing new, however long the file is."""


@dataclass(frozen=True, slots=True)
class AuditionPlan:
    """How much of a dub is heard again."""

    share: float
    """Of its length, at most; whole reels only, so that short files are not heard at all. 0: none ever is."""
    seed: str
    """The same seed chooses the same sentences."""
    attempts: int = 3


UNHEARD = AuditionPlan(0.0, "")
"""Nothing is transcribed back; it is measured all the same."""


@dataclass(frozen=True, slots=True)
class HeardReel:
    """What one reel gave."""

    lines: tuple[HeardLine, ...]
    language: Language
    """In which it seemed to be."""
    length_s: float


@dataclass(frozen=True, slots=True)
class Impression:
    """How the dub of a file sounds."""

    loudness_lufs: float
    """Integrated, by ITU-R BS.1770, of the whole mix."""
    mono_lufs: float
    """As if it were one channel."""
    peak_dbfs: float
    reels: tuple[HeardReel, ...]
    unheard: str | None
    """Why nothing was transcribed back; None when something was."""


@dataclass(frozen=True, slots=True)
class _Take:
    """Where a sentence sounds in the mix, in samples of the mix."""

    segment: DubbedSegment
    start: int
    end: int


@dataclass(slots=True)
class _Reel:
    takes: list[_Take]
    under_way: list[Samples] = field(default_factory=list)
    """Mono, at the rate of the mix, of the take that the mix is passing."""
    sound: list[NDArray[np.int16]] = field(default_factory=list)
    """At 16 kHz, of those that it has passed: reels wait for their turn to be heard, as much as 280 s of them."""
    passed: int = 0


class Audition:
    """Listens to the mix as it flows by. Use as `auditioning`."""

    def __init__(
        self,
        plan: AuditionPlan,
        transcriber: Transcriber,
        segments: Sequence[DubbedSegment],
        length_s: float,
        rate_hz: int,
        channels: int,
    ) -> None:
        """segments: in order of time. length_s: of the file."""
        self._plan = plan
        self._transcriber = transcriber
        self._rate_hz = rate_hz
        self._channels = channels
        self._loudness = IntegratedLoudness(rate_hz, channels)
        self._peak = 0.0
        self._reels = [_Reel(takes) for takes in choose(plan, segments, length_s, rate_hz)]
        self._listening: list[asyncio.Task[HeardReel]] = []
        self._ears = asyncio.Semaphore(HEARD_AT_ONCE)

    def push(self, block: Samples, offset: int) -> None:
        """Take the next block of the mix. Computes for as long as measuring takes: call it in a thread."""
        self._loudness.push(block)
        self._peak = max(self._peak, float(np.max(np.abs(block), initial=0.0)))
        mono: Samples = block if block.ndim == 1 else block.mean(axis=1, dtype=np.float32)
        for reel in self._reels:
            self._collect(reel, mono, offset)

    def _collect(self, reel: _Reel, mono: Samples, offset: int) -> None:
        end = offset + len(mono)
        for take in reel.takes[reel.passed :]:
            if take.start >= end:
                return
            reel.under_way.append(mono[max(take.start - offset, 0) : take.end - offset].copy())
            if take.end > end:
                return
            self._end_take(reel)

    def _end_take(self, reel: _Reel) -> None:
        pause = np.zeros(round(PAUSE_S * self._rate_hz), np.float32)
        sound = AudioChunk(np.concatenate([*reel.under_way, pause]), self._rate_hz)
        reel.sound.append(to_int16(resample(sound, ASR_RATE_HZ).samples))
        reel.under_way = []
        reel.passed += 1

    def listen(self) -> None:
        """Begin with what is complete; on the loop, now and then."""
        for reel in [reel for reel in self._reels if reel.passed == len(reel.takes)]:
            self._begin(reel)

    def _begin(self, reel: _Reel) -> None:
        self._reels.remove(reel)
        self._listening.append(asyncio.create_task(self._heard(reel), name="audition"))

    async def impression(self) -> Impression:
        """When the whole mix was pushed. What goes wrong is said in it."""
        for reel in list(self._reels):
            if reel.under_way:
                self._end_take(reel)
            if reel.sound:
                self._begin(reel)
        reels: list[HeardReel] = []
        unheard = None if self._listening else "The file is too short for the share of it that is heard again."
        if not self._plan.share:
            unheard = "This server does not listen to its dubs."
        for result in await asyncio.gather(*self._listening, return_exceptions=True):
            if isinstance(result, HeardReel):
                reels.append(result)
            else:
                unheard = str(result) if isinstance(result, OctaviaError) else "The dub could not be heard again."
                log.warning("audition_failed", exc_info=result)
        lufs = self._loudness.lufs
        # Speech is the same in both channels, and two of them are twice the power.
        mono = lufs - decibels(self._channels) / 2
        return Impression(lufs, mono, decibels(self._peak), tuple(reels), None if reels else unheard)

    async def _heard(self, reel: _Reel) -> HeardReel:
        async with self._ears:
            sound = AudioChunk(from_int16(np.concatenate(reel.sound)), ASR_RATE_HZ)
            reel.sound.clear()
            transcript = await with_retries(lambda: self._transcriber.transcribe(sound, None), self._plan.attempts)
        return HeardReel(tuple(self._compared(reel, transcript)), transcript.language, sound.duration_s)

    def _compared(self, reel: _Reel, transcript: Transcript) -> list[HeardLine]:
        lines = []
        at_s = 0.0
        for take in reel.takes:
            # Half of the pause belongs to each side.
            from_s = at_s - PAUSE_S / 2
            at_s += (take.end - take.start) / self._rate_hz + PAUSE_S
            words = [word.text.strip() for word in transcript.words if from_s <= _middle_s(word) < at_s - PAUSE_S / 2]
            language = take.segment.voice.language
            heard = join_words(words, language)
            wanted = plain_words(take.segment.text, language)
            errors = word_errors(wanted, plain_words(heard, language))
            lines.append(HeardLine(take.segment.sentence.index, take.segment.text, heard, len(wanted), errors))
        return lines

    def close(self) -> None:
        """Nobody waits for what is still being heard."""
        for task in self._listening:
            task.cancel()


@asynccontextmanager
async def auditioning(audition: Audition) -> AsyncIterator[Audition]:
    """Ends what is still being heard when the block is left."""
    try:
        yield audition
    finally:
        audition.close()


def choose(plan: AuditionPlan, segments: Sequence[DubbedSegment], length_s: float, rate_hz: int) -> list[list[_Take]]:
    """What is heard together, reel by reel, in order of time."""
    count = min(int(plan.share * length_s / REEL_S), MOST_REELS)
    takes = [_take(segment, rate_hz) for segment in segments if not segment.kept_original]
    takes = [take for take in takes if SHORTEST_S <= (take.end - take.start) / rate_hz <= REEL_S - PAUSE_S]
    random.Random(plan.seed).shuffle(takes)  # noqa: S311 - a sample, no secret
    chosen: list[_Take] = []
    room_s = count * REEL_S
    for take in takes:
        needed_s = (take.end - take.start) / rate_hz + PAUSE_S
        if needed_s <= room_s:
            chosen.append(take)
            room_s -= needed_s
    return _reels(sorted(chosen, key=lambda take: take.start), count, rate_hz)


def _reels(takes: Sequence[_Take], count: int, rate_hz: int) -> list[list[_Take]]:
    """As many as there is room for, each filled before the next begins."""
    reels: list[list[_Take]] = []
    room_s = 0.0
    for take in takes:
        needed_s = (take.end - take.start) / rate_hz + PAUSE_S
        if needed_s > room_s:
            if len(reels) == count:
                break
            reels.append([])
            room_s = REEL_S
        reels[-1].append(take)
        room_s -= needed_s
    return reels


def _take(segment: DubbedSegment, rate_hz: int) -> _Take:
    start_s, end_s = segment.placement.start / ASR_RATE_HZ, segment.placement.end / ASR_RATE_HZ
    return _Take(segment, max(round((start_s - MARGIN_S) * rate_hz), 0), round((end_s + MARGIN_S) * rate_hz))


def _middle_s(word: Word) -> float:
    return (word.start + word.end) / 2 / ASR_RATE_HZ
