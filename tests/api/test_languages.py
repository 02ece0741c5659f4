"""What can be dubbed into what."""

import httpx
import pytest

from api.languages import Reach
from octavia_stream.errors import UnsupportedLanguage
from octavia_stream.languages import Language

EN, PT, DE, HI = (Language(tag) for tag in ("en", "pt", "de", "hi"))
HEARD = frozenset({EN, PT, DE})


def test_the_speech_model_s_own_translation_is_a_way_into_english_and_on() -> None:
    reach = Reach(HEARD, {(EN, PT): "en-pt"}, asr_translates=True)
    assert reach.sources(EN) == HEARD
    assert reach.sources(PT) == HEARD
    reach.check(PT, None)
    reach.check(PT, DE)


def test_without_it_only_pairs_lead_on() -> None:
    reach = Reach(HEARD, {(EN, PT): "en-pt", (DE, EN): "de-en"}, asr_translates=False)
    assert reach.sources(PT) == {EN, DE, PT}
    assert reach.sources(DE) == {DE}
    with pytest.raises(UnsupportedLanguage):
        reach.check(DE, PT)
    with pytest.raises(UnsupportedLanguage):
        reach.check(DE, None)


def test_a_language_that_nobody_understands_is_refused() -> None:
    with pytest.raises(UnsupportedLanguage, match="Hindi"):
        Reach(HEARD, {(HI, EN): "hi-en"}, asr_translates=True).check(EN, HI)


@pytest.mark.services
async def test_the_routes_tell_what_is_installed(anyone: httpx.AsyncClient) -> None:
    targets = {target["language"]: target for target in (await anyone.get("/api/v1/languages")).json()["targets"]}
    assert "en" in targets["pt"]["sources"]
    assert targets["pt"]["name"] == "Portuguese"
    voices = (await anyone.get("/api/v1/voices?language=pt-BR")).json()["voices"]
    assert voices[0]["id"] == targets["pt"]["default_voice"]
    assert {voice["language"] for voice in voices} == {"pt"}
    assert (await anyone.get("/api/v1/voices?language=klingon")).status_code == 422
