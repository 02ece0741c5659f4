"""Speech lies where it should, the original is down while it sounds, and block borders are not heard."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from octavia_stream.audio.chunk import AudioChunk, Samples
from octavia_stream.dubbing.mixing import CEILING, FADE_DOWN_S, FADE_UP_S, Clip, Ducking, mix

RATE = 8000


async def blocks(samples: Samples, size: int) -> AsyncIterator[AudioChunk]:
    for start in range(0, len(samples), size):
        yield AudioChunk(samples[start : start + size].copy(), RATE, start)


async def mixed(samples: Samples, clips: list[Clip], ducking: Ducking, size: int) -> Samples:
    return np.concatenate([block async for block in mix(blocks(samples, size), clips, ducking)])


def tone(seconds: float, level: float) -> Samples:
    at = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * 200 * at)).astype(np.float32)


@pytest.mark.parametrize("size", [1, 97, 4096, 100_000])
async def test_the_mix_does_not_depend_on_how_the_sound_was_cut_into_blocks(size: int) -> None:
    original = tone(2.0 if size == 1 else 6.0, 0.3)
    clips = [Clip(4000, tone(0.4, 0.2)), Clip(9000, tone(0.5, 0.2))]
    ducking = Ducking([(clip.start, clip.end) for clip in clips], -24.0, RATE)
    whole = await mixed(original, clips, ducking, len(original))
    assert np.array_equal(await mixed(original, clips, ducking, size), whole)
    assert len(whole) == len(original)


async def test_the_original_is_untouched_away_from_speech_and_quiet_under_it() -> None:
    original = tone(8.0, 0.3)
    ducking = Ducking([(3 * RATE, 4 * RATE)], -20.0, RATE)
    result = await mixed(original, [], ducking, 1000)
    before = round((3 - FADE_DOWN_S) * RATE)
    after = round((4 + FADE_UP_S) * RATE)
    assert np.array_equal(result[:before], original[:before])
    assert np.array_equal(result[after:], original[after:])
    assert result[3 * RATE : 4 * RATE] == pytest.approx(original[3 * RATE : 4 * RATE] * 0.1, abs=1e-6)


async def test_close_utterances_stay_ducked_between_them() -> None:
    ducking = Ducking([(RATE, 2 * RATE), (round(2.5 * RATE), 3 * RATE)], -20.0, RATE)
    assert ducking.envelope(2 * RATE, RATE // 2) == pytest.approx(0.1)


async def test_speech_sounds_in_every_channel_at_its_place() -> None:
    original = np.zeros((3 * RATE, 2), dtype=np.float32)
    speech = tone(1.0, 0.5)
    result = await mixed(original, [Clip(RATE, speech)], Ducking([], -20.0, RATE), 333)
    assert np.array_equal(result[RATE : 2 * RATE, 0], speech)
    assert np.array_equal(result[:, 0], result[:, 1])
    assert not result[:RATE].any()
    assert not result[2 * RATE :].any()


async def test_loud_moments_are_bent_below_the_ceiling() -> None:
    original = tone(1.0, 0.9)
    result = await mixed(original, [Clip(0, tone(1.0, 0.9))], Ducking([], 0.0, RATE), 100)
    assert np.abs(result).max() <= CEILING


def test_an_original_that_is_silenced_is_heard_only_where_it_is_kept() -> None:
    silent = Ducking.silent([], 1000)
    assert not silent.envelope(0, 500).any()
    kept = Ducking.silent([(2000, 4000)], 1000)
    gains = kept.envelope(0, 6000)
    assert not gains[:1800].any()
    assert (gains[2000:4000] == 1.0).all()
    assert not gains[4400:].any()
