"""Subtitles written, translated and spoken by real models."""

from itertools import pairwise
from pathlib import Path

import pytest

from octavia_stream.asr.whisper import WhisperEngine
from octavia_stream.captions.subtitle_file import read_subtitles
from octavia_stream.config import ModelSettings, Settings
from octavia_stream.dubbing.captioning import CaptionRequest, caption_file
from octavia_stream.dubbing.checkpoints import NoCheckpoints
from octavia_stream.dubbing.engines import local
from octavia_stream.dubbing.subtitle_translation import SubtitleRequest, translate_subtitles
from octavia_stream.installed import translator
from octavia_stream.jobs.job_models import VAD_MODEL
from octavia_stream.languages import Language
from octavia_stream.media.probe import probe
from octavia_stream.models.registry import Registry
from octavia_stream.mt.routes import plan_route
from octavia_stream.testing import ScriptedSynthesizer, ScriptedTranscriber
from octavia_stream.vad.silero import SileroDetector

pytestmark = pytest.mark.model

DATA = Path(__file__).parents[1] / "data"
FILM = DATA / "subtitles" / "sintel-en.vtt"
SPEECH = DATA / "speech" / "en" / "jfk.flac"
EN, PT = Language("en"), Language("pt")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, models=ModelSettings())


@pytest.fixture
def registry(settings: Settings) -> Registry:
    return Registry(settings.models, settings.home)


async def test_a_film_s_subtitles_become_portuguese_in_the_same_cues(settings: Settings, registry: Registry) -> None:
    route = plan_route(EN, PT, registry.mt_pairs(), asr_translates=False)
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


async def test_a_speech_is_written_down_in_two_languages(settings: Settings, registry: Registry) -> None:
    info = await probe(SPEECH, settings.media)
    request = CaptionRequest(
        source=SPEECH,
        info=info,
        track=info.audio[0],
        source_language=None,
        target_languages=(PT,),
        route=lambda spoken, target: plan_route(spoken, target, registry.mt_pairs()),
        fingerprints={"transcribe": "whisper", "translate": "int8"},
        media=settings.media,
    )
    engines = local(
        WhisperEngine(registry.resolve(settings.models.asr).path), translator(settings), ScriptedSynthesizer()
    )
    detector = SileroDetector(registry.resolve(VAD_MODEL).path)
    result = await caption_file(request, engines, detector, NoCheckpoints(), lambda _: None)
    assert result.source_language == EN
    spoken, translated = (" ".join(cue.text for cue in result.cues[language]).lower() for language in (EN, PT))
    assert "what your country can do for you" in spoken.replace("\n", " ")
    assert "país" in translated
    for cues in result.cues.values():
        assert all(a.end_s <= b.start_s for a, b in pairwise(cues))
        assert cues[-1].end_s <= 11.01
