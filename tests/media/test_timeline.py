"""Samples land where their timestamps say."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.media.child.timeline import TOLERANCE_S, Timeline

RATE = 1_000
TOLERANCE = round(TOLERANCE_S * RATE)


@given(st.lists(st.tuples(st.integers(-3_000, 5_000), st.integers(0, 400)), max_size=20))
def test_what_is_kept_is_never_further_from_its_timestamp_than_the_tolerance(pieces: list[tuple[int, int]]) -> None:
    """Each sample carries its own timestamp as value; silence is NaN-free zero."""
    timeline = Timeline(RATE, 1)
    laid = []
    for start, count in pieces:
        marked = np.arange(start, start + count, dtype=np.float32)[:, np.newaxis] + 1e6
        laid += list(timeline.place(start, marked))
    line = np.concatenate(laid) if laid else np.zeros((0, 1), np.float32)
    assert len(line) == timeline.position
    positions = np.flatnonzero(line[:, 0])
    assert np.all(np.abs(line[positions, 0] - 1e6 - positions) <= TOLERANCE)


def test_silence_comes_a_second_at_a_time() -> None:
    timeline = Timeline(RATE, 2)
    blocks = list(timeline.place(10 * RATE, np.ones((5, 2), np.float32)))
    assert [len(block) for block in blocks] == [RATE] * 10 + [5]
    assert timeline.filled == 10 * RATE


def test_no_timestamp_continues() -> None:
    timeline = Timeline(RATE, 1)
    list(timeline.place(0, np.ones((100, 1), np.float32)))
    list(timeline.place(None, np.ones((50, 1), np.float32)))
    assert (timeline.position, timeline.filled, timeline.dropped) == (150, 0, 0)
