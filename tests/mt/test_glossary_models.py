"""The embedded models keep to a glossary, on real news in both directions."""

from collections.abc import Sequence

import pytest

from octavia_stream.config import Settings
from octavia_stream.installed import translator
from octavia_stream.languages import Language
from octavia_stream.mt.glossary import GlossaryTranslator, Term, Terminology
from octavia_stream.mt.translator import Translation

pytestmark = pytest.mark.model

EN, PT = Language("en"), Language("pt")
News = list[dict[str, str]]

# None of these is what the models say by themselves; the last ones are made up.
ENGLISH = [
    Term("government", "executivo"),
    Term("police", "guarda"),
    Term("president", "mandatário"),
    Term("company", "firma"),
    Term("children", "miúdos"),
    Term("people", "gentes"),
    Term("year", "anuidade"),
    Term("new", "new"),
    Term("United States", "Federação do Norte"),
]
PORTUGUESE = [
    Term("governo", "cabinet"),
    Term("polícia", "constabulary"),
    Term("presidente", "chairperson"),
    Term("empresa", "enterprise"),
    Term("pessoas", "folks"),
    Term("anos", "anos"),
]


class Real:
    """The installed models, awaited."""

    def __init__(self, settings: Settings) -> None:
        self._engine = translator(settings)

    async def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        return self._engine.translate(sentences, source, target, hypotheses)


@pytest.mark.parametrize(
    ("source", "target", "column", "terms"), [(EN, PT, "en", ENGLISH), (PT, EN, "pt_BR", PORTUGUESE)]
)
async def test_nearly_every_sentence_says_its_terms_as_asked(
    settings: Settings, news: News, source: Language, target: Language, column: str, terms: list[Term]
) -> None:
    terminology = Terminology(terms)
    sentences = [row[column] for row in news if terminology.found_in(row[column])][:30]
    assert len(sentences) == 30
    missed: list[Term] = []
    kept = await GlossaryTranslator(Real(settings), terminology, missed.append).translate(sentences, source, target)
    found = sum(len(terminology.found_in(sentence)) for sentence in sentences)
    plain = await Real(settings).translate(sentences, source, target)
    unchanged = [one.best.text for one in plain]
    assert sum(one.best.text == before for one, before in zip(kept, unchanged, strict=True)) < len(sentences) / 4
    assert len(missed) <= found * 0.05, (len(missed), found)
    assert not any(stand_in in one.best.text for one in kept for stand_in in ("XQ", "QX", "ZQ"))


async def test_the_words_around_agree_with_a_term(settings: Settings) -> None:
    terminology = Terminology([Term("server", "máquina"), Term("Octavia", "Octavia")])
    translator = GlossaryTranslator(Real(settings), terminology, lambda term: pytest.fail(str(term)))
    sentences = ["We sold the old server yesterday.", "Octavia runs on this server."]
    said = [one.best.text for one in await translator.translate(sentences, EN, PT)]
    assert "a máquina" in said[0]
    assert "Octavia" in said[1]
    assert "esta máquina" in said[1]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))
