"""What counts as the same words."""

import pytest

from benchmarks.scoring import character_f_score, plain_words, word_error_rate
from octavia_stream.languages import Language

ENGLISH, PORTUGUESE = Language("en"), Language("pt")


def test_case_punctuation_and_hyphens_do_not_count() -> None:
    assert plain_words("The “forty-two line” Bible, it's OLD.", ENGLISH) == "the forty two line bible its old"


@pytest.mark.parametrize(
    ("figures", "words", "language"),
    [
        ("In 1465 they began.", "in fourteen sixty-five they began", ENGLISH),
        ("Em 1465, começaram.", "em mil quatrocentos e sessenta e cinco começaram", PORTUGUESE),
    ],
)
def test_numbers_in_figures_are_the_words_they_are_read_as(figures: str, words: str, language: Language) -> None:
    assert word_error_rate(figures, words, language) == 0


def test_accents_count() -> None:
    assert word_error_rate("ele está aqui", "ele esta aqui", PORTUGUESE) == pytest.approx(1 / 3)


def test_missing_wrong_and_added_words_count_once_each() -> None:
    assert word_error_rate("one two three four", "one too four five", ENGLISH) == pytest.approx(3 / 4)


def test_a_translation_scores_full_against_itself_and_less_against_another() -> None:
    sentences = ["O rápido raposo castanho.", "A segunda frase."]
    assert character_f_score(sentences, sentences) == pytest.approx(100)
    assert character_f_score(sentences, ["Outra coisa.", "Nada disso."]) < 40
