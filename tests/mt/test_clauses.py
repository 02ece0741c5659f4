"""What is too long is cut where it hurts least, and joined again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.mt.clauses import distinct, split_clauses, translate_in_clauses
from octavia_stream.mt.translator import Hypothesis


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("short", ["short"]),
        ("We left early today. It rained, and was cold.", ["We left early today.", "It rained, and was cold."]),
        ("We left, and it rained; she stayed, alone.", ["We left, and it rained;", "she stayed, alone."]),
        ("when all had gone, we went home too", ["when all had gone,", "we went home too"]),
        ("it costs 1,000,000 and 2.50 for everyone", ["it costs 1,000,000", "and 2.50 for everyone"]),
        ("我们今天早上回家了，因为外面下着很大的雨", ["我们今天早上回家了，", "因为外面下着很大的雨"]),
    ],
)
def test_a_long_text_is_cut_at_its_best_punctuation(text: str, parts: list[str]) -> None:
    assert split_clauses(text, len, max(len(part) for part in parts)) == parts


@given(st.text(st.sampled_from("ab ,.;é我。"), max_size=200), st.integers(1, 50))
def test_every_part_fits_and_nothing_is_lost(text: str, limit: int) -> None:
    parts = split_clauses(text, len, limit)
    assert all(len(part) <= limit for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_parts_are_translated_together_and_joined_rank_by_rank() -> None:
    asked: list[list[str]] = []

    def translate(clauses: list[str]) -> list[tuple[Hypothesis, ...]]:
        asked.append(clauses)
        return [(Hypothesis(clause.upper(), -1.0), Hypothesis(clause.title(), -3.0)) for clause in clauses]

    long, blank, number, short = translate_in_clauses(["one two, red blue", " ", "7", "ok\nyes"], translate, len, 10)
    assert asked == [["one two,", "red blue", "ok yes"]]
    assert [hypothesis.text for hypothesis in long.hypotheses] == ["ONE TWO, RED BLUE", "One Two, Red Blue"]
    assert [hypothesis.score for hypothesis in long.hypotheses] == [-1.0, -3.0]
    assert (blank.best.text, number.best.text, short.best.text) == ("", "7", "OK YES")
    assert short.source == "ok\nyes"


def test_alternatives_that_read_the_same_are_one() -> None:
    first, same, other = Hypothesis("a", -1), Hypothesis("a", -2), Hypothesis("b", -3)
    assert distinct([first, same, other]) == (first, other)
    assert distinct([Hypothesis("", -1), first]) == (first,)
    assert distinct([Hypothesis("", -1)]) == (Hypothesis("", -1),)
