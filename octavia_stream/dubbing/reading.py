"""A text, read aloud: sentence by sentence, each spoken while the one before is already heard."""

import asyncio
from collections.abc import AsyncGenerator

import numpy as np

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.audio.resampling import resample
from octavia_stream.audio.stretching import stretch
from octavia_stream.dubbing.punctuation import split_sentences
from octavia_stream.dubbing.retrying import with_retries
from octavia_stream.tts.synthesizer import Synthesizer
from octavia_stream.tts.voice import Voice

SLOWEST, FASTEST = 0.8, 1.3
"""What engines honour; beyond it the speech is stretched."""
PAUSE_S = 0.25
"""Between sentences."""
LONGEST_CHARACTERS = 400
"""A longer sentence is read in parts, so that nobody waits for the end of it."""
AHEAD = 2
"""Sentences that are spoken before they are needed."""


async def read_aloud(
    text: str, voice: Voice, synthesizer: Synthesizer, *, rate_hz: int, speed: float = 1.0, attempts: int = 3
) -> AsyncGenerator[AudioChunk]:
    """Mono chunks at `rate_hz`, one after the other on one timeline; none for a text with nothing to say.

    speed: 1 is the voice's own pace. Raises what the synthesizer raises when asking again does not help.
    """
    sentences = await asyncio.to_thread(split_sentences, text, voice.language, LONGEST_CHARACTERS)
    pending: list[asyncio.Task[AudioChunk]] = []
    left = list(sentences)
    offset = 0

    async def speak(sentence: str) -> AudioChunk:
        pace = min(max(speed, SLOWEST), FASTEST)
        spoken = await with_retries(lambda: synthesizer.synthesize(sentence, voice, pace), attempts)
        return await asyncio.to_thread(_paced, spoken, pace / speed, rate_hz)

    try:
        while left or pending:
            while left and len(pending) <= AHEAD:
                pending.append(asyncio.create_task(speak(left.pop(0)), name="read aloud"))
            chunk = await pending.pop(0)
            if not chunk.length:
                continue
            parts = (
                [np.zeros(round(PAUSE_S / speed * rate_hz), np.float32), chunk.samples] if offset else [chunk.samples]
            )
            samples = np.concatenate(parts)
            yield AudioChunk(samples, rate_hz, offset)
            offset += len(samples)
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def expected_s(text: str, voice: Voice, speed: float) -> float:
    """About how long reading takes, in seconds."""
    return len(text) / voice.characters_per_second / speed


def _paced(spoken: AudioChunk, ratio: float, rate_hz: int) -> AudioChunk:
    """At the rate wanted, and `ratio` times as long."""
    if not spoken.length:
        return AudioChunk(spoken.samples, rate_hz)
    return resample(stretch(spoken, ratio) if abs(ratio - 1.0) > 1e-3 else spoken, rate_hz)
