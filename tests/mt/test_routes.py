"""The way from one language to another."""

import pytest

from octavia_stream.errors import UnsupportedLanguage
from octavia_stream.languages import Language
from octavia_stream.mt.routes import Hop, Pairs, Route, plan_route

EN, PT, ES, FR, DE = (Language(tag) for tag in ("en", "pt", "es", "fr", "de"))
EMBEDDED: Pairs = {(EN, PT): "en-pt", (PT, EN): "pt-en"}


def test_the_same_language_needs_no_hop() -> None:
    assert plan_route(PT, PT, {}) == Route("transcribe", PT, ())


def test_a_direct_pair_is_taken() -> None:
    assert plan_route(EN, PT, EMBEDDED) == Route("transcribe", EN, (Hop(EN, PT, "en-pt"),))


def test_a_direct_pair_is_preferred_to_whispers_own_translation() -> None:
    assert plan_route(PT, EN, EMBEDDED) == Route("transcribe", PT, (Hop(PT, EN, "pt-en"),))


def test_without_a_direct_pair_it_pivots_through_english() -> None:
    pairs = {(ES, DE): "es-de", (DE, FR): "de-fr", (ES, EN): "es-en", (EN, FR): "en-fr"}
    assert plan_route(ES, FR, pairs) == Route("transcribe", ES, (Hop(ES, EN, "es-en"), Hop(EN, FR, "en-fr")))


def test_it_pivots_through_another_language_when_english_does_not_connect() -> None:
    pairs = {(ES, DE): "es-de", (DE, FR): "de-fr"}
    assert plan_route(ES, FR, pairs).hops == (Hop(ES, DE, "es-de"), Hop(DE, FR, "de-fr"))


def test_three_hops_are_too_many() -> None:
    pairs = {(ES, DE): "es-de", (DE, EN): "de-en", (EN, FR): "en-fr"}
    with pytest.raises(UnsupportedLanguage):
        plan_route(ES, FR, pairs, asr_translates=False)


def test_whisper_translates_into_english_where_no_pair_does() -> None:
    assert plan_route(FR, EN, EMBEDDED) == Route("translate", EN, ())
    assert plan_route(FR, PT, EMBEDDED) == Route("translate", EN, (Hop(EN, PT, "en-pt"),))


def test_text_cannot_take_whispers_way() -> None:
    with pytest.raises(UnsupportedLanguage, match="fr→pt"):
        plan_route(FR, PT, EMBEDDED, asr_translates=False)


def test_a_missing_path_names_what_to_install_and_what_there_is() -> None:
    with pytest.raises(UnsupportedLanguage) as refusal:
        plan_route(ES, FR, EMBEDDED)
    message = str(refusal.value)
    assert "Spanish into French" in message
    assert "en→fr" in message
    assert "installed pairs are en→pt, pt→en" in message
    assert "\n" not in message
    assert message.endswith(".")


def test_a_missing_path_out_of_english_names_the_pair_itself() -> None:
    with pytest.raises(UnsupportedLanguage, match="en→fr"):
        plan_route(EN, FR, {})
