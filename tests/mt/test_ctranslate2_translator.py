"""Ordinary CTranslate2 models, in every layout that people publish them in, on a real if senseless model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import ctranslate2
import pytest
import sentencepiece

from octavia_stream.errors import ModelCorrupt, UnsupportedLanguage
from octavia_stream.languages import Language
from octavia_stream.mt.ctranslate2_translator import (
    MAX_PIECES,
    CTranslate2Engine,
    Tokenization,
    longest_output,
    tokenization_of,
)
from octavia_stream.mt.flores import flores_code

pytestmark = pytest.mark.model

BuildTranslator = Callable[..., Path]
EN, PT, ZH, XH = Language("en"), Language("pt"), Language("zh"), Language("xh")
SENTENCES = ["This is a dog.", "The printer is out of paper again, and nobody knows why.", "Yes."]


@pytest.fixture(scope="module")
def spm(en_pt: Path) -> Path:
    return en_pt / "vocab.enpt.spm"


Layout = tuple[str, tuple[str, ...], tuple[str, ...], list[str], list[str]]
# Family, SentencePiece files, language tokens; and the tokens before source and target for English to Portuguese.
LAYOUTS: list[Layout] = [
    ("opus-mt", ("source.spm", "target.spm"), (), [], []),
    ("quickmt", ("src.spm.model", "tgt.spm.model"), (), [], []),
    ("quickmt", ("joint.spm.model",), (), [], []),
    ("madlad", ("spiece.model",), ("<2pt>", "<2en>"), ["<2pt>"], []),
    ("madlad", ("sentencepiece.model",), ("<2pt>", "<2en>"), ["<2pt>"], []),
    ("nllb", ("sentencepiece.bpe.model",), ("eng_Latn", "por_Latn"), ["eng_Latn"], ["por_Latn"]),
    ("m2m100", ("sentencepiece.bpe.model",), ("__en__", "__pt__"), ["__en__"], ["__pt__"]),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout[0]} {layout[1][0]}")
@pytest.mark.parametrize("add_source_eos", [False, True])
def test_each_layout_is_told_by_its_files_and_fed_as_its_family_wants(
    layout: Layout, add_source_eos: bool, spm: Path, build_translator: BuildTranslator
) -> None:
    family, names, tokens, source_prefix, target_prefix = layout
    directory = build_translator(spm, names, tokens, add_source_eos=add_source_eos)
    tokenization = tokenization_of(directory)
    assert tokenization.family == family
    engine = CTranslate2Engine(directory, tokenization, compute_type="float32")

    processor = sentencepiece.SentencePieceProcessor(model_file=str(spm))
    end = [] if add_source_eos else ["</s>"]
    plain = ctranslate2.Translator(str(directory), compute_type="float32", intra_threads=1)
    for sentence, translation in zip(SENTENCES, engine.translate(SENTENCES, EN, PT), strict=True):
        source = [*source_prefix, *processor.encode(sentence, out_type=str), *end]
        expected = plain.translate_batch(
            [source],
            target_prefix=[target_prefix] if target_prefix else None,
            beam_size=4,
            max_decoding_length=longest_output(len(source)),
        )[0].hypotheses[0]
        text = processor.decode([t for t in expected[len(target_prefix) :] if t != "<unk>"])
        assert translation.source == sentence
        assert translation.best.text == text.strip() != ""


def test_alternatives_come_best_first_with_their_mean_log_probability(
    spm: Path, build_translator: BuildTranslator
) -> None:
    directory = build_translator(spm, ("source.spm", "target.spm"))
    engine = CTranslate2Engine(directory, tokenization_of(directory), compute_type="float32")
    translation = engine.translate(["This is a dog."], EN, PT, hypotheses=3)[0]
    scores = [hypothesis.score for hypothesis in translation.hypotheses]
    assert 1 < len(scores) <= 3
    assert scores == sorted(scores, reverse=True)

    processor = sentencepiece.SentencePieceProcessor(model_file=str(spm))
    source = [*processor.encode("This is a dog.", out_type=str), "</s>"]
    plain = ctranslate2.Translator(str(directory), compute_type="float32", intra_threads=1)
    limit = longest_output(len(source))
    tokens = plain.translate_batch([source], beam_size=4, max_decoding_length=limit)[0].hypotheses[0]
    log_probabilities = plain.score_batch([source], [tokens])[0].log_probs
    # Cut at the limit there is no end of sentence to score; else it is the last of them.
    counted = log_probabilities[: len(tokens)] if len(tokens) == limit else log_probabilities
    assert translation.best.score == pytest.approx(sum(counted) / len(counted), abs=1e-3)


def test_a_translation_does_not_depend_on_its_batch(spm: Path, build_translator: BuildTranslator) -> None:
    directory = build_translator(spm, ("source.spm", "target.spm"))
    engine = CTranslate2Engine(directory, tokenization_of(directory), compute_type="float32")
    alone = [engine.translate([sentence], EN, PT)[0].best.text for sentence in SENTENCES]
    assert [translation.best.text for translation in engine.translate(SENTENCES, EN, PT)] == alone


def test_the_target_language_changes_what_is_said(spm: Path, build_translator: BuildTranslator) -> None:
    directory = build_translator(spm, ("spiece.model",), ("<2pt>", "<2zh>"))
    engine = CTranslate2Engine(directory, tokenization_of(directory))
    assert engine.translate(SENTENCES, EN, PT) != engine.translate(SENTENCES, EN, ZH)


@pytest.mark.parametrize(
    ("names", "tokens"),
    [
        (("spiece.model",), ("<2pt>", "<2en>")),
        (("sentencepiece.bpe.model",), ("eng_Latn", "por_Latn")),
        (("sentencepiece.bpe.model",), ("__en__", "__pt__")),
    ],
)
def test_a_language_that_the_model_does_not_know_is_refused_by_name(
    names: tuple[str, ...], tokens: tuple[str, ...], spm: Path, build_translator: BuildTranslator
) -> None:
    directory = build_translator(spm, names, tokens)
    engine = CTranslate2Engine(directory, tokenization_of(directory))
    with pytest.raises(UnsupportedLanguage, match="Xhosa"):
        engine.translate(["This is a dog."], EN, XH)


def test_blank_numbers_and_long_texts_are_dealt_with_around_the_model(
    spm: Path, build_translator: BuildTranslator
) -> None:
    directory = build_translator(spm, ("source.spm", "target.spm"))
    engine = CTranslate2Engine(directory, tokenization_of(directory))
    long = "and so it went, " * MAX_PIECES
    blank, number, translated = engine.translate(["", "12:30", long], EN, PT)
    assert (blank.best.text, number.best.text) == ("", "12:30")
    assert translated.best.text


def test_the_catalogue_may_name_files_and_a_prefix(spm: Path, build_translator: BuildTranslator) -> None:
    directory = build_translator(spm, ("a.spm", "b.spm"), (">>por<<",))
    options = {"family": "opus-mt", "source_spm": "a.spm", "target_spm": "b.spm", "source_prefix": ">>por<<"}
    tokenization = tokenization_of(directory, options)
    assert tokenization == Tokenization("opus-mt", "a.spm", "b.spm", ">>por<<")
    plain = Tokenization("opus-mt", "a.spm", "b.spm")
    with_prefix = CTranslate2Engine(directory, tokenization).translate(SENTENCES, EN, PT)
    assert with_prefix != CTranslate2Engine(directory, plain).translate(SENTENCES, EN, PT)


def test_a_directory_of_no_known_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelCorrupt, match="no SentencePiece files"):
        tokenization_of(tmp_path)
    with pytest.raises(ModelCorrupt, match="which is not known"):
        tokenization_of(tmp_path, {"family": "t5"})


@pytest.mark.parametrize("name", ["model.bin", "source.spm", "shared_vocabulary.json", "config.json"])
def test_a_damaged_model_is_refused(name: str, spm: Path, build_translator: BuildTranslator, tmp_path: Path) -> None:
    directory = tmp_path / "damaged"
    shutil.copytree(build_translator(spm, ("source.spm", "target.spm")), directory)
    file = directory / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ModelCorrupt, match="install the model again"):
        CTranslate2Engine(directory, tokenization_of(directory))


def test_a_vocabulary_may_be_a_text_file(spm: Path, build_translator: BuildTranslator) -> None:
    """Older conversions of NLLB have one."""
    directory = build_translator(spm, ("sentencepiece.bpe.model",), ("eng_Latn", "por_Latn"))
    as_json = directory / "shared_vocabulary.json"
    tokens = json.loads(as_json.read_text())
    (directory / "shared_vocabulary.txt").write_text("\n".join(tokens) + "\n")
    expected = CTranslate2Engine(directory, tokenization_of(directory)).translate(SENTENCES, EN, PT)
    as_json.unlink()
    assert CTranslate2Engine(directory, tokenization_of(directory)).translate(SENTENCES, EN, PT) == expected


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("pt", "por_Latn"),
        ("zh", "zho_Hans"),
        ("ar", "arb_Arab"),
        ("sw", "swh_Latn"),
        ("et", "est_Latn"),
        ("no", "nob_Latn"),
    ],
)
def test_languages_have_the_codes_of_flores(language: str, code: str) -> None:
    known = ["por_Latn", "zho_Hant", "zho_Hans", "arb_Latn", "arb_Arab", "swh_Latn", "est_Latn", "nob_Latn", "nno_Latn"]
    assert flores_code(Language(language), known) == code
