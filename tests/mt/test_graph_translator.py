"""Any two languages that installed models connect, with real models."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from octavia_stream.config import ModelSettings
from octavia_stream.errors import UnsupportedLanguage
from octavia_stream.languages import Language
from octavia_stream.models.catalogue import ModelEntry, Pair
from octavia_stream.models.registry import Registry, ResolvedModel
from octavia_stream.mt.graph_translator import MAX_LOADED, GraphTranslator

pytestmark = pytest.mark.model

BuildTranslator = Callable[..., Path]
EN, PT, ES = Language("en"), Language("pt"), Language("es")


@dataclass
class Shelf:
    """Models in directories, and a note of each that was asked for."""

    models: Mapping[str, tuple[str, Pair, Path]]
    cache_dir: Path
    resolved: list[str] = field(default_factory=list)

    def mt_pairs(self) -> dict[Pair, str]:
        return {pair: model_id for model_id, (_, pair, _) in self.models.items()}

    def resolve(self, model_id: str) -> ResolvedModel:
        self.resolved.append(model_id)
        engine, pair, path = self.models[model_id]
        entry = ModelEntry(
            id=model_id,
            task="mt",
            engine=engine,  # type: ignore[arg-type]
            pairs=(pair,),
            size_bytes=0,
            licence_code="MIT",
            licence_weights="MIT",
            commercial=True,
        )
        return ResolvedModel(path, entry, "dir:", False)


@pytest.fixture(scope="module")
def shelf(en_pt: Path, pt_en: Path, conversions: Path, build_translator: BuildTranslator) -> Shelf:
    """The two students, and a random model from Spanish to English, which makes English a pivot."""
    es_en = build_translator(en_pt / "vocab.enpt.spm", ("source.spm", "target.spm"))
    return Shelf(
        {
            "en-pt": ("bergamot", (EN, PT), en_pt),
            "pt-en": ("bergamot", (PT, EN), pt_en),
            "es-en": ("ctranslate2", (ES, EN), es_en),
        },
        conversions,
    )


def test_the_installed_registry_gives_a_real_translation(tmp_path: Path) -> None:
    translator = GraphTranslator(Registry(ModelSettings(), tmp_path))
    there = translator.translate(["Good morning, this is a test.", ""], EN, PT)
    assert [translation.best.text for translation in there] == ["Bom dia, este é um teste.", ""]
    back = translator.translate(["O avião chegou atrasado."], PT, EN, hypotheses=3)
    assert "plane" in back[0].best.text
    assert len(back[0].hypotheses) == 3


def test_a_pivot_translates_twice_and_keeps_the_sentence_it_was_given(shelf: Shelf) -> None:
    translator = GraphTranslator(shelf)
    sentence = "Buenos días."
    through = translator.translate([sentence], ES, PT, hypotheses=2)[0]
    english = translator.translate([sentence], ES, EN)[0].best.text
    assert through.source == sentence
    assert through.hypotheses == translator.translate([english], EN, PT, hypotheses=2)[0].hypotheses


def test_the_same_language_gives_the_sentence_back_and_loads_nothing(shelf: Shelf) -> None:
    shelf.resolved.clear()
    translation = GraphTranslator(shelf).translate(["Olá  mundo."], PT, PT)[0]
    assert (translation.source, translation.best.text) == ("Olá  mundo.", "Olá mundo.")
    assert shelf.resolved == []


def test_a_pair_without_a_path_is_refused(shelf: Shelf) -> None:
    with pytest.raises(UnsupportedLanguage, match="en→es"):
        GraphTranslator(shelf).translate(["Hello."], EN, ES)


def test_a_model_is_loaded_once_however_many_threads_want_it(shelf: Shelf) -> None:
    shelf.resolved.clear()
    translator = GraphTranslator(shelf)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: translator.translate(["Good morning."], EN, PT), range(4)))
    assert shelf.resolved == ["en-pt"]
    assert all(result == results[0] for result in results)


def test_the_models_unused_for_longest_are_let_go(
    en_pt: Path, conversions: Path, build_translator: BuildTranslator
) -> None:
    model = build_translator(en_pt / "vocab.enpt.spm", ("source.spm", "target.spm"))
    languages = [Language(tag) for tag in ("de", "fr", "it", "nl", "sv", "da")][: MAX_LOADED + 1]
    shelf = Shelf({f"{tag}-en": ("ctranslate2", (tag, EN), model) for tag in languages}, conversions)
    translator = GraphTranslator(shelf)
    for language in languages:
        translator.translate(["ja"], language, EN)
    translator.translate(["ja"], languages[-1], EN)
    assert shelf.resolved == [f"{tag}-en" for tag in languages]
    translator.translate(["ja"], languages[0], EN)
    assert shelf.resolved[-1] == f"{languages[0]}-en"
