"""The embedded models are here, whole, and what the catalogue says."""

from pathlib import Path

import pytest

from octavia_stream.config import ModelSettings
from octavia_stream.languages import Language
from octavia_stream.models.registry import Registry

pytestmark = pytest.mark.model

EMBEDDED = {
    "whisper-base": "model.bin",
    "whisper-tiny.en": "model.bin",
    "silero-v6": "silero_vad_v6.onnx",
    "bergamot-en-pt": "model.enpt.intgemm.alphas.bin",
    "bergamot-pt-en": "model.pten.intgemm.alphas.bin",
    "hibari": "hibari.onnx",
    "kokoro-int8": "kokoro.int8.onnx",
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(ModelSettings(), tmp_path_factory.mktemp("home"))


def test_the_list_is_the_catalogue_s(registry: Registry) -> None:
    assert {entry.id for entry in registry.catalogue.models.values() if entry.embedded} == set(EMBEDDED)


@pytest.mark.parametrize("model_id", EMBEDDED)
def test_it_resolves_verified_and_has_the_size_it_claims(registry: Registry, model_id: str) -> None:
    model = registry.verify(model_id)

    assert model.verified
    size = sum((model.path / name).stat().st_size for name in model.entry.sha256)
    assert size == pytest.approx(model.entry.size_bytes, rel=0.05)
    assert (model.path / EMBEDDED[model_id]).is_file()


def test_both_directions_between_english_and_portuguese_are_direct(registry: Registry) -> None:
    english, portuguese = Language("en"), Language("pt")
    assert registry.mt_pairs() == {
        (english, portuguese): "bergamot-en-pt",
        (portuguese, english): "bergamot-pt-en",
    }


def test_each_language_has_its_default_voice(registry: Registry) -> None:
    defaults = {tag: registry.default_voice(Language(tag)).id for tag in ("pt", "en", "es", "fr", "it")}
    assert defaults == {
        "pt": "kokoro/pf_dora",
        "en": "hibari/heart",
        "es": "kokoro/ef_dora",
        "fr": "kokoro/ff_siwis",
        "it": "kokoro/if_sara",
    }
    assert {voice.gender for voice in registry.voices(Language("pt"))} == {"female", "male"}


def test_what_was_read_once_is_not_read_again(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.resolve("whisper-base")

    def refuse(path: Path) -> str:
        raise AssertionError(f"{path.name} was read again")

    monkeypatch.setattr("octavia_stream.models.cache.file_sha256", refuse)
    again = Registry(ModelSettings(cache_dir=registry.cache_dir), Path("/nonexistent"))
    assert again.resolve("whisper-base").verified
