"""What is committed never changes, whatever comes later."""

from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.asr.transcript import Word
from octavia_stream.live.agreement import Agreement
from tests.live.conftest import words_at


def texts(words: list[Word]) -> list[str]:
    return [word.text for word in words]


def test_words_are_committed_when_two_hypotheses_in_a_row_begin_with_them() -> None:
    agreement = Agreement()
    said = words_at("the quick brown fox jumps")
    assert agreement.push(said[:2]) == []
    assert texts(agreement.push(said[:4])) == ["the", "quick"]
    assert texts(agreement.push(said)) == ["brown", "fox"]
    assert texts(list(agreement.tail)) == ["jumps"]


def test_the_last_word_waits_for_the_next_or_for_the_end() -> None:
    agreement = Agreement()
    said = words_at("never mind")
    agreement.push(said)
    assert texts(agreement.push(said)) == ["never"]
    assert texts(agreement.push(said, final=True)) == ["mind"]


def test_case_and_marks_do_not_make_a_word_another() -> None:
    agreement = Agreement()
    agreement.push(words_at("Well, it works fine"))
    assert texts(agreement.push(words_at("well it works fine today"))) == ["well", "it", "works", "fine"]


def test_a_hypothesis_that_starts_later_goes_on_where_the_last_one_was_committed() -> None:
    agreement = Agreement()
    said = words_at("one two three four five six seven")
    agreement.push(said[:5])
    agreement.push(said[:5])
    assert texts(agreement.push(said[2:])) == ["five"]
    assert texts(agreement.push(said[2:], final=True)) == ["six", "seven"]


def test_times_that_shift_a_little_repeat_no_word_and_lose_none() -> None:
    agreement = Agreement()
    said = words_at("no no no not yet")
    shifted = [Word(word.text, word.start + 2500, word.end + 2500, 0.9) for word in said]
    agreement.push(said[:4])
    committed = agreement.push(said[:4])
    committed += agreement.push(shifted, final=True)
    assert texts(committed) == ["no", "no", "no", "not", "yet"]


hypotheses = st.lists(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=12), min_size=1, max_size=8)


@given(hypotheses)
def test_words_are_committed_in_order_of_time_and_once(heard: list[list[str]]) -> None:
    agreement = Agreement()
    committed: list[Word] = []
    for place, words in enumerate(heard):
        committed += agreement.push(words_at(" ".join(words)), final=place == len(heard) - 1)
    places = [word.start for word in committed]
    assert places == sorted(set(places))


@given(st.lists(st.sampled_from(["a", "b", "the", "fox"]), min_size=1, max_size=30), st.data())
def test_a_steady_transcript_is_committed_whole_however_it_is_cut(text: list[str], data: st.DataObject) -> None:
    agreement = Agreement()
    said = words_at(" ".join(text))
    committed: list[Word] = []
    until = 0
    while until < len(said):
        until = data.draw(st.integers(until + 1, len(said)))
        before = data.draw(st.integers(0, len(committed)))
        # Sound before what is committed may be forgotten at any time.
        committed += agreement.push(said[before:until])
    committed += agreement.push(said[len(committed) :], final=True)
    assert texts(committed) == text
