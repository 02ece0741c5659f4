"""Real voices: spoken, and read back by a real recogniser."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.config import ModelSettings
from octavia_stream.errors import ModelCorrupt, ModelMissing, UnsupportedLanguage
from octavia_stream.languages import Language
from octavia_stream.models.registry import Registry
from octavia_stream.tts.espeak import Phonemizer
from octavia_stream.tts.hibari import HibariEngine
from octavia_stream.tts.kokoro import KokoroEngine, split_phonemes, to_alphabet
from octavia_stream.tts.voice import Voice
from octavia_stream.tts.voice_engines import VoiceEngines

pytestmark = pytest.mark.model

ENGLISH, PORTUGUESE = Language("en"), Language("pt")
DORA = Voice("kokoro/pf_dora", PORTUGUESE, "female", "kokoro-int8", "pf_dora", 16.8)
ALEX = Voice("kokoro/pm_alex", PORTUGUESE, "male", "kokoro-int8", "pm_alex", 16.5)
HEART = Voice("kokoro/af_heart", ENGLISH, "female", "kokoro-int8", "af_heart", 17.3)
HIBARI = Voice("hibari/heart", ENGLISH, "female", "hibari", "heart", 17.5)

IN_PORTUGUESE = "A questão surgiu depois do projeto de mudar o nome da assembleia."
IN_ENGLISH = "The question came up after the plan to change the name of the assembly."


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(ModelSettings(), tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def voices(registry: Registry) -> Iterator[VoiceEngines]:
    engines = VoiceEngines(registry)
    yield engines
    engines.close()


@pytest.fixture(scope="module")
def words_heard(registry: Registry) -> Callable[[AudioChunk, Language], list[str]]:
    """What whisper-base understands, folded."""
    from faster_whisper import WhisperModel

    model: Any = WhisperModel(str(registry.resolve("whisper-base").path), compute_type="int8", cpu_threads=1)

    def hear(spoken: AudioChunk, language: Language) -> list[str]:
        at = np.arange(0, spoken.length, spoken.rate_hz / 16_000)
        samples = np.interp(at, np.arange(spoken.length), spoken.samples).astype(np.float32)
        segments, _ = model.transcribe(samples, language=language, beam_size=5)
        return folded(" ".join(segment.text for segment in segments))

    return hear


def folded(text: str) -> list[str]:
    """Words without case, accents or punctuation."""
    plain = unicodedata.normalize("NFD", text.lower())
    return re.sub(r"[^\w\s]", " ", "".join(letter for letter in plain if not unicodedata.combining(letter))).split()


def assert_fit_to_play(spoken: AudioChunk, rate_hz: int = 24_000) -> None:
    assert spoken.rate_hz == rate_hz
    assert spoken.offset == 0
    assert spoken.samples.dtype == np.float32
    assert spoken.samples.ndim == 1
    assert np.isfinite(spoken.samples).all()
    assert np.abs(spoken.samples).max() <= 1.0
    loud = np.flatnonzero(np.abs(spoken.samples) > 0.02)
    assert loud[0] < 0.1 * rate_hz
    assert spoken.length - loud[-1] < 0.25 * rate_hz  # the last sound fades


@pytest.mark.parametrize(
    ("voice", "text"),
    [
        (DORA, IN_PORTUGUESE),
        (ALEX, "Parlamentares acreditam que isso poderia virar motivo de piada."),
        (HEART, IN_ENGLISH),
        (HIBARI, IN_ENGLISH),
    ],
    ids=lambda value: value.id if isinstance(value, Voice) else "",
)
def test_speech_is_understood(
    voices: VoiceEngines, words_heard: Callable[[AudioChunk, Language], list[str]], voice: Voice, text: str
) -> None:
    spoken = voices.synthesize(text, voice)
    assert_fit_to_play(spoken)
    heard = words_heard(spoken, voice.language)
    assert jiwer.wer(" ".join(folded(text)), " ".join(heard)) <= 0.2


def test_figures_are_read_in_the_voices_language(
    voices: VoiceEngines, words_heard: Callable[[AudioChunk, Language], list[str]]
) -> None:
    """Whisper may write either; English figures read by a Portuguese voice would be neither."""
    heard = " ".join(words_heard(voices.synthesize("Isso custou 350 reais em 25 dias.", DORA), PORTUGUESE))
    assert "350" in heard or "trezentos e cinquenta" in heard
    assert any(words in heard for words in ("25", "20 e 5", "vinte e cinco"))


@pytest.mark.parametrize(("voice", "text"), [(DORA, IN_PORTUGUESE), (HIBARI, IN_ENGLISH)], ids=["kokoro", "hibari"])
def test_duration_follows_the_text_and_the_speed(voices: VoiceEngines, voice: Voice, text: str) -> None:
    natural = voices.synthesize(text, voice).duration_s
    assert natural == pytest.approx(len(text) / voice.characters_per_second, rel=0.3)
    for speed in (0.8, 1.3):
        assert voices.synthesize(text, voice, speed).duration_s == pytest.approx(natural / speed, rel=0.1)


def test_speed_beyond_what_can_be_followed_is_clipped(voices: VoiceEngines) -> None:
    assert (
        voices.synthesize("One two three.", HIBARI, 9.0).length
        == voices.synthesize("One two three.", HIBARI, 1.3).length
    )


@pytest.mark.parametrize("text", ["", "  ", "…", "😀", "https://example.org/"])
def test_nothing_to_say_gives_an_empty_chunk_without_loading_a_model(text: str, registry: Registry) -> None:
    engines = VoiceEngines(registry)
    spoken = engines.synthesize(text, Voice("x", PORTUGUESE, "female", "no-such-model"))
    assert spoken.samples.shape == (0,)
    assert spoken.samples.dtype == np.float32


def test_very_long_text_is_spoken_to_its_end(
    voices: VoiceEngines, words_heard: Callable[[AudioChunk, Language], list[str]]
) -> None:
    """More phonemes than one call holds; nothing is cut off silently."""
    text = "The first of many words. " + "We went on and on, over hills and through valleys, without rest. " * 9
    text += "The final word is elephant."
    for voice in (HEART, HIBARI):
        spoken = voices.synthesize(text, voice, 1.3)
        assert spoken.duration_s == pytest.approx(len(text) / voice.characters_per_second / 1.3, rel=0.3)
        ending = AudioChunk(spoken.samples[-3 * spoken.rate_hz :], spoken.rate_hz)
        assert "elephant" in words_heard(ending, ENGLISH)


def test_a_sentence_without_any_break_is_spoken(voices: VoiceEngines) -> None:
    assert_fit_to_play(voices.synthesize("a" * 600, HIBARI))


def test_threads_get_what_a_lone_caller_gets(voices: VoiceEngines) -> None:
    texts = ["One.", "Two words.", "Three small words.", "And a few more."]
    jobs = [(text, voice) for voice in (HIBARI, HEART) for text in texts]
    alone = [voices.synthesize(text, voice) for text, voice in jobs]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda job: voices.synthesize(*job), jobs))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)


def test_no_more_models_stay_loaded_than_allowed(registry: Registry) -> None:
    engines = VoiceEngines(registry, kept=1)
    engines.prepare(HIBARI)
    engines.prepare(HEART)
    assert list(engines._loaded) == ["kokoro-int8"]
    assert engines.synthesize("Back again.", HIBARI).length > 0
    engines.close()
    assert not engines._loaded


def test_a_blend_of_two_voices_is_neither(voices: VoiceEngines) -> None:
    blend = Voice("kokoro/mix", PORTUGUESE, "neutral", "kokoro-int8", "pf_dora+pm_alex")
    spoken = [voices.synthesize("Bom dia.", voice) for voice in (DORA, ALEX, blend)]
    assert_fit_to_play(spoken[2])
    assert len({chunk.samples.tobytes() for chunk in spoken}) == 3


@pytest.mark.parametrize("speaker", ["nobody", "", "../voices/pf_dora", "pf_dora+", "/etc/passwd"])
def test_a_speaker_that_does_not_exist_is_missing(voices: VoiceEngines, speaker: str) -> None:
    with pytest.raises(ModelMissing):
        voices.synthesize("Bom dia.", Voice("kokoro/x", PORTUGUESE, "female", "kokoro-int8", speaker))


def test_a_language_the_engine_does_not_speak_is_refused(voices: VoiceEngines) -> None:
    with pytest.raises(UnsupportedLanguage):
        voices.synthesize("Hei.", Voice("kokoro/x", Language("fi"), "female", "kokoro-int8", "af_heart"))
    with pytest.raises(UnsupportedLanguage):
        voices.synthesize("Bom dia.", Voice("hibari/x", PORTUGUESE, "female", "hibari", "heart"))


def test_a_model_that_is_no_voice_cannot_speak(voices: VoiceEngines) -> None:
    with pytest.raises(ModelMissing, match="cannot speak"):
        voices.synthesize("Hello.", Voice("x", ENGLISH, "female", "whisper-base"))


def test_every_voice_of_the_catalogue_that_is_installed_speaks(voices: VoiceEngines, registry: Registry) -> None:
    spoken = {voice.id: voices.synthesize("Bar.", voice) for voice in registry.voices() if voice.speaker}
    assert {"hibari/heart", "kokoro/pf_dora", "kokoro/ff_siwis", "kokoro/im_nicola"} <= set(spoken)
    for chunk in spoken.values():
        assert_fit_to_play(chunk)


def test_missing_and_damaged_models_are_told_apart(tmp_path: Path, registry: Registry) -> None:
    phonemizer = Phonemizer()
    for open_engine in (lambda: KokoroEngine(tmp_path, phonemizer), lambda: HibariEngine(tmp_path)):
        with pytest.raises(ModelMissing):
            open_engine()
    (tmp_path / "hibari.onnx").write_bytes(b"not a model")
    for open_engine in (lambda: KokoroEngine(tmp_path, phonemizer), lambda: HibariEngine(tmp_path)):
        with pytest.raises(ModelCorrupt):
            open_engine()


def test_raw_voice_vectors_beside_the_model_are_used_and_checked(tmp_path: Path, registry: Registry) -> None:
    """The layout of the model's publishers: `voices/NAME.bin`, float32."""
    (tmp_path / "kokoro.onnx").symlink_to(registry.resolve("kokoro-int8").path / "kokoro.int8.onnx")
    (tmp_path / "voices").mkdir()
    packaged = np.load(Path("octavia_stream/tts/voices/pf_dora.npy")).astype(np.float32)
    packaged.tofile(tmp_path / "voices" / "mine.bin")
    (tmp_path / "voices" / "torn.bin").write_bytes(b"1234")
    phonemizer = Phonemizer()
    engine = KokoroEngine(tmp_path, phonemizer)
    mine, dora = (
        engine.synthesize("Oi.", Voice("k", PORTUGUESE, "female", "k", speaker)) for speaker in ("mine", "pf_dora")
    )
    np.testing.assert_array_equal(mine.samples, dora.samples)
    with pytest.raises(ModelCorrupt):
        engine.synthesize("Oi.", Voice("k", PORTUGUESE, "female", "k", "torn"))
    phonemizer.close()


def test_phonemes_become_the_models_letters() -> None:
    assert to_alphabet("vˈaɪ tʃˈaʊ", PORTUGUESE) == "vˈI ʧˈW"
    assert to_alphabet("θˈɜːɾi kˈæts", ENGLISH) == "θˈɜɹTi kˈæts"


def test_long_phonemes_are_cut_after_a_sentence_else_a_clause_else_a_word() -> None:
    assert split_phonemes("aaaa. bbbb, cccc dddd", 12) == ["aaaa.", "bbbb,", "cccc dddd"]
    assert split_phonemes("aaaa bbbb cccc", 10) == ["aaaa bbbb", "cccc"]
    assert split_phonemes("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
    assert split_phonemes("  ", 10) == []
