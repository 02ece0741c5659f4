"""Subtitles through the real English → Portuguese model."""

from pathlib import Path

import pytest

from octavia_stream.captions.subtitle_file import read_subtitles
from octavia_stream.config import ModelSettings, Settings
from octavia_stream.dubbing.checkpoints import NoCheckpoints
from octavia_stream.dubbing.engines import local
from octavia_stream.dubbing.subtitle_translation import SubtitleRequest, translate_subtitles
from octavia_stream.installed import translator
from octavia_stream.languages import Language
from octavia_stream.models.registry import Registry
from octavia_stream.mt.routes import plan_route
from octavia_stream.testing import ScriptedSynthesizer, ScriptedTranscriber

pytestmark = pytest.mark.model

FILM = Path(__file__).parents[1] / "data" / "subtitles" / "sintel-en.vtt"
EN, PT = Language("en"), Language("pt")


async def test_a_film_s_subtitles_become_portuguese_in_the_same_cues(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, models=ModelSettings())
    route = plan_route(EN, PT, Registry(settings.models, tmp_path).mt_pairs(), asr_translates=False)
    engines = local(ScriptedTranscriber(), translator(settings), ScriptedSynthesizer())
    original = read_subtitles(FILM.read_bytes())
    request = SubtitleRequest(original, EN, {PT: route}, {"translate": "int8"})
    result = await translate_subtitles(request, engines, NoCheckpoints(), lambda _: None)
    translated = read_subtitles(result.files[PT])
    assert [(cue.start_ms, cue.end_ms) for cue in translated.cues] == [
        (cue.start_ms, cue.end_ms) for cue in original.cues
    ]
    assert "<v Test>[" in translated.document
    assert "NOTE This is a comment" in translated.document
    said = translated.document.lower()
    assert all(word in said for word in ("lâmina", "sangue", "viajar", "dragão", "obrigad"))
