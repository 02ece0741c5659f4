"""What is laid on a track sounds once, in order, without a hole in a phrase and without a click at its edges."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.audio.chunk import Samples
from octavia_stream.live.frame import FRAME_SAMPLES
from octavia_stream.live.original import READY_SAMPLES, OriginalSound
from octavia_stream.live.track import Track, faded, to_pcm


def sounded(track: Track[str], frames: int) -> Samples:
    return np.concatenate([track.next_frame()[0] for _ in range(frames)])


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 7000), st.integers(0, 3)), max_size=8))
def test_every_sample_sounds_once_and_in_its_place(clips: list[tuple[int, int, int]]) -> None:
    track: Track[int] = Track(position=3 * FRAME_SAMPLES)
    parts, expected = [], {}
    for number, (pause, length, frames) in enumerate(clips, start=1):
        samples = np.full(length, number / 100, np.float32)
        start = track.lay(samples, number, pause)
        expected[start] = samples
        parts.append([track.next_frame() for _ in range(frames)])
    while track.ahead:
        parts.append([track.next_frame()])
    out = np.concatenate([samples for part in parts for samples, _ in part] or [np.zeros(0, np.float32)])
    for start, samples in expected.items():
        place = start - 3 * FRAME_SAMPLES
        assert np.array_equal(out[place : place + len(samples)], faded(samples))
    told = [started.start for part in parts for _, begun in part for started in begun]
    assert told == sorted(expected)


def test_a_phrase_begins_and_ends_softly() -> None:
    track: Track[str] = Track()
    track.lay(np.full(4800, 0.9, np.float32), "loud")
    steps = np.abs(np.diff(np.concatenate([np.zeros(1, np.float32), sounded(track, 6)])))
    assert steps.max() < 0.02


def test_two_phrases_that_follow_each_other_keep_their_pause() -> None:
    track: Track[str] = Track()
    first = track.lay(np.ones(1000, np.float32), "one", pause=500)
    assert track.lay(np.ones(1000, np.float32), "two", pause=500) == first + 1000 + 500


def test_a_phrase_that_comes_late_starts_at_once() -> None:
    track: Track[str] = Track()
    track.lay(np.ones(100, np.float32), "one")
    sounded(track, 10)
    assert track.lay(np.ones(100, np.float32), "two", pause=4800) == track.position


def test_samples_never_wrap_round() -> None:
    assert to_pcm(np.array([3.0, -3.0], np.float32)).tolist() == [31784, -31784]


def test_the_original_is_heard_whole_once_it_flows() -> None:
    original = OriginalSound()
    heard = []
    for _ in range(100):
        original.push("a", np.full(320, 0.5, np.float32))
        if (frame := original.next_frame()) is not None:
            heard.append(frame)
    assert len(heard) >= 100 - READY_SAMPLES // FRAME_SAMPLES - 2
    assert np.allclose(np.concatenate(heard)[4800:], 0.5, atol=0.01)


def test_original_sound_that_nobody_takes_is_bounded() -> None:
    original = OriginalSound()
    for _ in range(1000):
        original.push("a", np.zeros(320, np.float32))
    frames = 0
    while original.next_frame() is not None:
        frames += 1
    assert frames <= 25
