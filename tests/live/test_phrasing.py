"""Phrases end where they sound finished, and never later than a listener can bear."""

from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.asr.transcript import Word
from octavia_stream.live.phrasing import PhraseCutter, PhrasingOptions
from tests.live.conftest import EN, words_at


def cut(text: str, **options: float) -> list[str]:
    cutter = PhraseCutter(EN, PhrasingOptions(**options))  # type: ignore[arg-type]  # numbers of both kinds
    phrases = cutter.push(words_at(text)) + cutter.finish()
    return [" ".join(word.text for word in phrase) for phrase in phrases]


def test_a_sentence_ends_a_phrase() -> None:
    assert cut("Yes. I will. See you", longest_s=9) == ["Yes.", "I will.", "See you"]


def test_an_abbreviation_does_not() -> None:
    assert cut("Ask Dr. Smith about it", longest_s=9) == ["Ask Dr. Smith about it"]


def test_a_comma_ends_a_phrase_when_there_is_enough_of_it() -> None:
    assert cut("Well, if it rains tomorrow, we stay", longest_s=9) == ["Well, if it rains tomorrow,", "we stay"]


def test_a_conjunction_begins_one() -> None:
    assert cut("we went home because it rained", longest_s=9) == ["we went home", "because it rained"]


def test_a_pause_ends_one() -> None:
    words = words_at("he paused here") + words_at("then went on", start_s=2.0)
    cutter = PhraseCutter(EN, PhrasingOptions(longest_s=9))
    assert [len(phrase) for phrase in cutter.push(words)] == [3]


def test_a_long_phrase_is_cut_before_a_preposition() -> None:
    assert cut("take all of your belongings to the second floor", longest_s=1.8)[0] == "take all of your belongings"


def test_no_phrase_ends_with_an_article() -> None:
    assert cut("people sometimes remember the strangest things", longest_s=1.2)[0] == "people sometimes remember"


def test_what_comes_next_is_needed_to_cut_so_nothing_is_cut_too_early() -> None:
    cutter = PhraseCutter(EN, PhrasingOptions(longest_s=9))
    assert cutter.push(words_at("It costs 3.")) == []


texts = st.lists(st.sampled_from(["the", "fox", "in", "and", "jumps", "over,", "done.", "of"]), min_size=1, max_size=40)


@given(texts, st.data())
def test_nothing_is_lost_and_what_is_called_certain_stays_in_its_phrase(text: list[str], data: st.DataObject) -> None:
    cutter = PhraseCutter(EN, PhrasingOptions())
    words = words_at(" ".join(text))
    phrases: list[list[Word]] = []
    place = 0
    while place < len(words):
        until = data.draw(st.integers(place + 1, len(words)))
        certain = list(cutter.pending[: cutter.certain])
        new = cutter.push(words[place:until])
        first = new[0] if new else list(cutter.pending)
        assert first[: len(certain)] == certain
        phrases += new
        place = until
    phrases += cutter.finish()
    assert [word for phrase in phrases for word in phrase] == words


@given(texts)
def test_no_phrase_is_much_longer_than_it_may_be(text: list[str]) -> None:
    cutter = PhraseCutter(EN, PhrasingOptions(longest_s=1.8))
    for phrase in cutter.push(words_at(" ".join(text))):
        assert phrase[-1].end - phrase[0].start <= 2 * 1.8 * 16_000
