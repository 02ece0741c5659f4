"""Any blocks in, exactly the right number of samples out, and the same sound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.audio.chunk import AudioChunk, Samples
from octavia_stream.audio.resampling import Resampler, resample, resampled_length

RATES = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000]


def tone(rate_hz: int, seconds: float, frequency_hz: float = 440.0) -> Samples:
    time = np.arange(round(rate_hz * seconds)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


@given(
    st.sampled_from(RATES),
    st.sampled_from(RATES),
    st.lists(st.integers(0, 5_000), max_size=12),
    st.sampled_from([1, 2]),
)
def test_the_total_is_exact_whatever_the_blocks(from_hz: int, to_hz: int, sizes: list[int], channels: int) -> None:
    resampler = Resampler(from_hz, to_hz, channels)
    count = sum(len(resampler.push(np.ones((size, channels), np.float32))) for size in sizes)
    count += len(resampler.finish())
    assert count == resampled_length(sum(sizes), from_hz, to_hz)


def test_blocks_make_no_difference() -> None:
    whole = tone(44_100, 1.0)
    once = Resampler(44_100, 16_000)
    expected = np.concatenate([once.push(whole), once.finish(1)])
    pieces = Resampler(44_100, 16_000)
    parts = [pieces.push(part) for part in np.array_split(whole, 37)]
    assert np.allclose(np.concatenate([*parts, pieces.finish(1)]), expected, atol=1e-6)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(48_000, 16_000), (44_100, 16_000), (24_000, 48_000), (24_000, 44_100)])
def test_a_tone_stays_the_tone_it_was_where_it_was(from_hz: int, to_hz: int) -> None:
    """Delay and gain would both show in the difference."""
    resampled = resample(AudioChunk(tone(from_hz, 1.0), from_hz), to_hz)
    expected = tone(to_hz, 1.0)
    assert resampled.length == len(expected)
    inner = slice(to_hz // 20, -to_hz // 20)
    assert float(np.abs(resampled.samples[inner] - expected[inner]).max()) < 1e-3


def test_what_the_lower_rate_cannot_hold_is_removed() -> None:
    resampled = resample(AudioChunk(tone(48_000, 1.0, 12_000), 48_000), 16_000)
    assert float(np.abs(resampled.samples[800:-800]).max()) < 1e-3


def test_channels_stay_apart() -> None:
    stereo = np.stack([tone(48_000, 0.5), np.zeros(24_000, np.float32)], axis=1)
    resampled = resample(AudioChunk(stereo, 48_000, 96_000), 16_000)
    assert resampled.samples.shape == (8_000, 2)
    assert not resampled.samples[:, 1].any()
    assert resampled.offset == 32_000


def test_an_hour_does_not_drift() -> None:
    """44.1 kHz to 16 kHz, a click every ten minutes."""
    resampler = Resampler(44_100, 16_000)
    clicks = []
    position = 0
    block = np.zeros(44_100, np.float32)
    for second in range(3_600):
        block[0] = 1.0 if second % 600 == 0 else 0.0
        out = resampler.push(block)
        clicks += [position + int(at) for at in np.flatnonzero(out > 0.2)]
        position += len(out)
    assert position + len(resampler.finish(1)) == 3_600 * 16_000
    assert all(abs(click - second * 16_000) <= 1 for click, second in zip(clicks, range(0, 3_600, 600), strict=True))


def test_the_same_rate_costs_nothing() -> None:
    chunk = AudioChunk(tone(16_000, 0.1), 16_000)
    assert resample(chunk, 16_000) is chunk
    same = Resampler(16_000, 16_000)
    assert same.push(chunk.samples) is chunk.samples
    assert len(same.finish(1)) == 0
