"""How many servers, from what waits and what is under way."""

from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.scheduling.scaling import queued_in_all, servers_wanted

SECONDS = st.integers(0, 10**6)
CALLS = st.integers(0, 10**4)


def wanted(queued_s: float, ongoing: float) -> int:
    return servers_wanted(queued_s=queued_s, ongoing=ongoing, queued_s_per_server=60.0, calls_per_server=4)


def test_nothing_to_do_needs_nobody() -> None:
    assert wanted(0, 0) == 0


def test_servers_come_with_what_waits_and_stay_while_they_are_needed() -> None:
    assert wanted(1, 4) == 1
    assert wanted(60, 4) == 1
    assert wanted(61, 4) == 2
    assert wanted(600, 8) == 10
    assert wanted(1, 40) == 10, "the queue is nearly empty, and all ten still work"
    assert wanted(0, 9) == 3


def test_one_long_call_that_waits_counts_for_more_than_many_short_ones() -> None:
    assert wanted(600, 4) > wanted(20 * 0.25, 4)


@given(SECONDS, SECONDS, CALLS, CALLS)
def test_more_to_do_never_needs_fewer(queued_s: int, more_s: int, ongoing: int, more: int) -> None:
    assert wanted(queued_s + more_s, ongoing + more) >= wanted(queued_s, ongoing)


@given(SECONDS, CALLS)
def test_no_server_has_more_waiting_or_under_way_than_it_should(queued_s: int, ongoing: int) -> None:
    servers = wanted(queued_s, ongoing)
    assert servers * 60.0 >= queued_s
    assert servers * 4 >= ongoing


def test_workers_add_up_and_of_one_the_most_that_was_heard_counts() -> None:
    assert queued_in_all({"a": [10.0, 40.0, 0.0], "b": [5.0], "c": []}) == 45.0
    assert queued_in_all({}) == 0.0
