"""The catalogue is well formed and says what is true of its models."""

import msgspec
import pytest

from octavia_stream.errors import NotFound
from octavia_stream.languages import parse_language
from octavia_stream.models.catalogue import Catalogue, read_catalogue


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue()


def test_every_language_of_it_is_in_normal_form(catalogue: Catalogue) -> None:
    for entry in catalogue.models.values():
        for tag in (*entry.languages, *(tag for pair in entry.pairs for tag in pair)):
            assert parse_language(tag) == tag, entry.id


def test_every_embedded_model_can_be_installed_by_pip_and_verified(catalogue: Catalogue) -> None:
    embedded = [entry for entry in catalogue.models.values() if entry.embedded]
    assert {entry.task for entry in embedded} == {"asr", "mt", "tts", "vad"}
    for entry in embedded:
        assert entry.packages
        assert entry.sha256
        assert entry.sources[0].startswith(("pkg:", "build:"))
        assert all(len(digest) == 64 for digest in entry.sha256.values())


def test_every_voice_names_a_model_that_speaks_its_language(catalogue: Catalogue) -> None:
    assert len({voice.id for voice in catalogue.voices}) == len(catalogue.voices)
    for voice in catalogue.voices:
        model = catalogue.model(voice.model)
        assert model.task == "tts"
        assert voice.language in model.languages


def test_a_voice_of_many_languages_has_an_id_for_each(catalogue: Catalogue) -> None:
    assert {"xtts/pt_ana_florence", "xtts/de_ana_florence"} <= {voice.id for voice in catalogue.voices}


def test_non_commercial_licences_are_marked(catalogue: Catalogue) -> None:
    restricted = {entry.id for entry in catalogue.models.values() if not entry.commercial}
    assert restricted == {"nllb-200-600m", "xtts-v2"}
    assert all("NC" not in e.licence_weights or not e.commercial for e in catalogue.models.values())


def test_many_to_many_translators_know_every_direction_once(catalogue: Catalogue) -> None:
    entry = catalogue.model("madlad400-3b")
    directions = entry.directions()
    assert len(directions) == len(set(directions)) == len(entry.languages) * (len(entry.languages) - 1)
    assert catalogue.model("whisper-base").directions() == ()


def test_an_unknown_model_is_refused_naming_those_there_are(catalogue: Catalogue) -> None:
    with pytest.raises(NotFound, match=r"no model 'gpt'; the catalogue has whisper-base"):
        catalogue.model("gpt")


def test_a_mistake_in_the_catalogue_is_an_error() -> None:
    text = 'language_sets = {}\nvoice = []\n[[model]]\nid = "x"\ntask = "dance"\n'
    with pytest.raises(msgspec.ValidationError, match="task"):
        read_catalogue(text)
