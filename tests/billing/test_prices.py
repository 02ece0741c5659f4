"""Prices: exact, whole, and read from a file that may be an operator's own."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.billing.prices import PricingTiers, read_prices
from octavia_stream.errors import InvalidRequest

KINDS = {"video-translate", "audio-translate", "subtitle-generate", "subtitle-translate", "subtitle-to-audio"}


def priced(rate: int) -> PricingTiers:
    return PricingTiers("usd", {"video-translate": rate})


def test_every_kind_of_job_has_a_price_in_the_package() -> None:
    prices = read_prices()
    assert set(prices.credits_per_minute) == {*KINDS, "live"}
    assert all(prices.quote(kind, 60.0) == prices.credits_per_minute[kind] >= 1 for kind in KINDS)
    assert prices.package


@pytest.mark.parametrize(
    ("rate", "seconds", "credits"),
    [
        (10, 0.0, 0),
        (10, 0.001, 1),
        (10, 6.0, 1),
        (10, 6.001, 2),
        (10, 60.0, 10),
        (10, 60.0004, 10),  # less than a millisecond is nothing
        (10, 60.001, 11),
        (7, 90.0, 11),
        (0, 3600.0, 0),
        (10, 4 * 3600.0, 2400),
    ],
)
def test_a_quote_counts_milliseconds_and_rounds_up_to_whole_credits(rate: int, seconds: float, credits: int) -> None:
    assert priced(rate).quote("video-translate", seconds) == credits


@given(st.integers(0, 1000), st.floats(0, 1e6), st.floats(0, 1e6))
def test_longer_never_costs_less_and_parts_never_less_than_the_whole(rate: int, one_s: float, other_s: float) -> None:
    prices = priced(rate)
    one, other = (prices.quote("video-translate", seconds) for seconds in sorted((one_s, other_s)))
    assert 0 <= one <= other
    # To a credit for the millisecond that two roundings may differ by.
    whole = prices.quote("video-translate", one_s + other_s)
    assert whole <= one + other + rate // 60_000 + 1


@pytest.mark.parametrize(
    ("parts", "credits"),
    [
        ([], 0),
        ([(3.0, 3.0)], 0),
        ([(6.0, 12.0)], 1),
        ([(6.0, 12.0), (60.0, 66.0)], 2),
        ([(6.0, 12.0), (8.0, 12.0), (6.0, 12.0)], 1),  # the same sentence, edited again before it was made
        ([(60.0, 66.0), (0.0, 120.0)], 20),
    ],
)
def test_an_edit_costs_the_seconds_that_are_made_again(parts: list[tuple[float, float]], credits: int) -> None:
    assert priced(10).quote_parts("video-translate", parts) == credits


@given(st.lists(st.tuples(st.integers(0, 3600), st.integers(0, 600)), max_size=12))
def test_edits_never_cost_more_than_the_whole_nor_than_one_by_one(parts: list[tuple[int, int]]) -> None:
    prices, spans = priced(7), [(float(start), float(start + length)) for start, length in parts]
    together = prices.quote_parts("video-translate", spans)
    assert together <= prices.quote("video-translate", 3600.0 + 600.0)
    assert together <= sum(prices.quote_parts("video-translate", [span]) for span in spans)
    covered = {second for start, length in parts for second in range(start, start + length)}
    assert together == prices.quote("video-translate", len(covered))


def test_a_part_that_ends_before_it_starts_has_no_price() -> None:
    for parts in ([(2.0, 1.0)], [(0.0, float("nan"))], [(0.0, float("inf"))]):
        with pytest.raises(InvalidRequest):
            priced(10).quote_parts("video-translate", parts)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_what_is_no_length_has_no_price(seconds: float) -> None:
    with pytest.raises(InvalidRequest):
        priced(10).quote("video-translate", seconds)


def test_a_kind_without_a_price_is_not_free() -> None:
    with pytest.raises(InvalidRequest, match="no price"):
        priced(10).quote("song-translate", 1.0)


PACKAGE = '[[package]]\nid = "a"\nname = "A"\ncredits = 5\nprice_cents = 100\npolar_product_id = "p"\n'
HEAD = 'currency = "eur"\n[credits_per_minute]\nvideo-translate = 4\n'


def test_an_operator_s_own_file_replaces_the_package_s(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(HEAD + PACKAGE)
    prices = read_prices(file)
    assert (prices.currency, prices.quote("video-translate", 30)) == ("eur", 2)
    package = prices.package_of_product("p")
    assert package is not None
    assert package is prices.package_of_id("a")
    assert prices.package_of_product("q") is prices.package_of_id("b") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "currency",
        'currency = "EUR"\n[credits_per_minute]\n',
        HEAD.replace("4", "-4"),
        HEAD.replace("4", "0.5"),
        HEAD + PACKAGE + PACKAGE,
        HEAD + PACKAGE + PACKAGE.replace('"a"', '"b"'),
        HEAD + PACKAGE.replace("5", "0"),
        HEAD + PACKAGE + "discount = 3\n",
    ],
)
def test_a_mistake_in_the_file_of_prices_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(InvalidRequest):
        read_prices(file)


def test_a_file_of_prices_that_is_not_there_is_told_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_prices(tmp_path / "none.toml")
    assert str(tmp_path) not in str(refused.value)
