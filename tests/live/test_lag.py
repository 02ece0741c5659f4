"""Whoever is late first shortens pauses, then hurries, and at last leaves something out."""

from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.live.lag import FASTEST, pace

seconds = st.floats(0, 60)


def test_in_time_it_speaks_as_it_likes() -> None:
    how = pace(0.0, 2.5, 8.0)
    assert how is not None
    assert (how.speed, how.pauses) == (1.0, 1.0)


def test_past_the_limit_it_speaks_as_fast_as_it_may_and_without_pauses() -> None:
    how = pace(0.0, 8.1, 8.0)
    assert how is not None
    assert (how.speed, how.pauses) == (FASTEST, 0.0)


def test_a_phrase_that_is_hopelessly_late_is_left_out() -> None:
    assert pace(10.0, 12.1, 8.0) is None


@given(seconds, seconds, seconds)
def test_whoever_waits_longer_is_never_spoken_more_slowly(behind_s: float, more_s: float, lag_s: float) -> None:
    one, other = pace(behind_s, lag_s, 8.0), pace(behind_s + more_s, lag_s, 8.0)
    if one is not None and other is not None:
        assert 1.0 <= one.speed <= other.speed <= FASTEST
        assert one.pauses >= other.pauses
