"""Subtitles written, translated and spoken by real models."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.sound import read_track, write_wav
from octavia_stream.asr.whisper import WhisperEngine
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.captions.subtitle_file import read_subtitles
from octavia_stream.config import ModelSettings, Settings
from octavia_stream.dubbing.captioning import CaptionRequest, CaptionResult, caption_file
from octavia_stream.dubbing.checkpoints import NoCheckpoints
from octavia_stream.dubbing.engines import local
from octavia_stream.dubbing.subtitle_translation import SubtitleRequest, translate_subtitles
from octavia_stream.events.event import JobEvent, Warned
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
PROVERB = DATA / "speech" / "pt" / "leopard_pt.wav"
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


async def written_down(
    source: Path, settings: Settings, registry: Registry, told: list[JobEvent] | None = None
) -> CaptionResult:
    """In the language spoken, and in Portuguese."""
    info = await probe(source, settings.media)
    request = CaptionRequest(
        source=source,
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
    emit = told.append if told is not None else lambda _: None
    return await caption_file(request, engines, detector, NoCheckpoints(), emit)


def text(result: CaptionResult, language: Language) -> str:
    return " ".join(cue.text for cue in result.cues[language]).replace("\n", " ").lower()


async def test_a_speech_is_written_down_in_two_languages(settings: Settings, registry: Registry) -> None:
    result = await written_down(SPEECH, settings, registry)
    assert result.source_language == EN
    spoken, translated = text(result, EN), text(result, PT)
    assert "what your country can do for you" in spoken
    assert "país" in translated
    for cues in result.cues.values():
        assert all(a.end_s <= b.start_s for a, b in pairwise(cues))
        assert cues[-1].end_s <= 11.01


async def test_a_second_language_is_written_down_as_it_is_spoken(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    """A president, a pause, and somebody who says in Portuguese: `Uma raposa velha não consegue aprender ofício.`"""
    tracks = [await read_track(path, ASR_RATE_HZ) for path in (SPEECH, PROVERB)]
    parts = [track.sound.samples.reshape(-1) for track in tracks]
    source = tmp_path / "both.wav"
    both = np.concatenate([parts[0], np.zeros(9 * ASR_RATE_HZ, np.float32), parts[1]])
    write_wav(source, AudioChunk(both, ASR_RATE_HZ))
    told: list[JobEvent] = []
    result = await written_down(source, settings, registry, told)
    assert result.source_language == EN
    for language in (EN, PT):
        assert "raposa velha não consegue" in text(result, language)
    assert "what your country can do for you" in text(result, EN)
    assert "país" in text(result, PT)
    [change] = [event.message for event in told if isinstance(event, Warned)]
    assert change.endswith("s on, Portuguese is spoken.")
