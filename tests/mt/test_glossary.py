"""Words that are to be said in one way are said so, whatever the model would have liked."""

from collections.abc import Callable, Sequence

import pytest

from octavia_stream.languages import Language
from octavia_stream.mt.glossary import GlossaryTranslator, Term, Terminology
from octavia_stream.mt.translator import Hypothesis, Translation

EN, PT = Language("en"), Language("pt")


class Says:
    """A translator that is a function of the sentence, and counts what it was asked."""

    def __init__(self, *ways: Callable[[str], str]) -> None:
        self._ways = ways
        self.asked: list[str] = []

    async def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        self.asked += sentences
        return [
            Translation(sentence, tuple(Hypothesis(way(sentence), -1.0) for way in self._ways[:hypotheses]))
            for sentence in sentences
        ]


async def say(model: Says, sentence: str, *terms: Term, hypotheses: int = 1) -> tuple[list[str], list[Term]]:
    missed: list[Term] = []
    translator = GlossaryTranslator(model, Terminology(terms), missed.append)
    [translation] = await translator.translate([sentence], EN, PT, hypotheses)
    assert translation.source == sentence
    return [one.text for one in translation.hypotheses], missed


BLADE = Term("blade", "lâmina")
OCTAVIA = Term("Octavia", "Octavia")


async def test_a_sentence_without_terms_is_translated_once() -> None:
    model = Says(str.upper)
    assert await say(model, "nothing here", BLADE) == (["NOTHING HERE"], [])
    assert model.asked == ["nothing here"]


async def test_what_the_model_says_rightly_by_itself_is_left_to_it() -> None:
    model = Says(lambda text: text.replace("The blade", "A lâmina"))
    assert await say(model, "The blade sings", BLADE) == (["A lâmina sings"], [])
    assert len(model.asked) == 1


async def test_else_the_words_wanted_are_written_into_the_source() -> None:
    model = Says(lambda text: text.replace("blade", "espada"))
    assert await say(model, "the Blade and a blade", BLADE) == (["the lâmina and a lâmina"], [])
    assert model.asked[1:] == ["the lâmina and a lâmina"]


async def test_else_a_stand_in_is_and_the_words_are_put_back() -> None:
    model = Says(lambda text: text.replace("blade", "espada").replace("lâmina", "espada"))
    assert await say(model, "blade, of the blade", BLADE) == (["Lâmina, of the lâmina"], [])
    assert model.asked[2:] == ["XQ1, of the XQ2"]


async def test_a_term_that_nothing_helps_is_told_and_the_sentence_is_kept() -> None:
    model = Says(lambda _: "tudo bem")
    assert await say(model, "the blade of Octavia", BLADE, OCTAVIA) == (["tudo bem"], [BLADE, OCTAVIA])


async def test_hypotheses_that_say_a_term_otherwise_are_left_out() -> None:
    ways = (lambda text: text.replace("blade", "espada"), lambda text: text.replace("blade", "lâmina"))
    assert await say(Says(*ways), "a blade", BLADE, hypotheses=2) == (["a lâmina"], [])


@pytest.mark.parametrize(
    ("sentence", "terms", "found"),
    [
        ("Blades are no blade", [BLADE], ["blade"]),
        ("give us the US", [Term("US", "EUA")], ["US"]),
        ("a hash  map of maps", [Term("map", "mapa"), Term("hash map", "dicionário")], ["hash  map"]),
        ("C++ and C", [Term("C++", "C++")], ["C++"]),
        ("東京タワーは高い", [Term("東京タワー", "Torre de Tóquio")], ["東京タワー"]),
        ("any (text) [at] all", [Term("(text)", "x")], ["(text)"]),
    ],
)
def test_terms_are_whole_words_the_longest_first(sentence: str, terms: list[Term], found: list[str]) -> None:
    assert [match[0] for match, _ in Terminology(terms).found_in(sentence)] == found


async def test_a_name_is_written_as_its_owner_writes_it() -> None:
    model = Says(lambda text: text.capitalize())
    said, missed = await say(model, "iphone or not", Term("iPhone", "iPhone"))
    assert (said, missed) == (["iPhone or not"], [])
