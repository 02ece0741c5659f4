"""Coqui's engines on tiny checkpoints with random weights."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.config import ModelSettings
from octavia_stream.errors import InvalidRequest, ModelCorrupt, ModelMissing, UnsupportedLanguage
from octavia_stream.languages import Language
from octavia_stream.models.registry import Registry
from octavia_stream.tts.coqui import VitsEngine, XttsEngine, load_latents, save_latents, split_text
from octavia_stream.tts.voice import Voice
from octavia_stream.tts.voice_engines import VoiceEngines

pytestmark = [
    pytest.mark.coqui,
    # torch, transformers and Coqui warn about each other's ways.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:(torch|torchaudio|transformers|TTS|librosa|trainer|jieba).*"),
]

PORTUGUESE = Language("pt")
TINY = Voice("xtts/tiny", PORTUGUESE, "neutral", "xtts", "Tiny Speaker")


@pytest.fixture(scope="session")
def latents_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("latents")


@pytest.fixture(scope="session")
def xtts(xtts_dir: Path, latents_dir: Path) -> XttsEngine:
    """Random weights never say stop: 40 tokens are about 1.8 s."""
    return XttsEngine(xtts_dir, latents_dir, max_new_tokens=40)


def test_the_models_own_speakers_become_safetensors(xtts: XttsEngine, latents_dir: Path) -> None:
    assert xtts.speakers() == ["Tiny Speaker"]
    latents = load_latents(latents_dir / "Tiny Speaker.safetensors")
    assert tuple(latents.gpt_cond_latent.shape) == (1, 32, 64)
    assert tuple(latents.speaker_embedding.shape) == (1, 512, 1)


def test_xtts_speaks_a_sentence(xtts: XttsEngine) -> None:
    spoken = xtts.synthesize("Olá, tudo bem?", TINY)
    assert spoken.rate_hz == 24_000
    assert spoken.samples.dtype == np.float32
    assert spoken.samples.ndim == 1
    assert spoken.duration_s > 0.5
    assert np.isfinite(spoken.samples).all()


def test_a_faster_xtts_is_shorter(xtts: XttsEngine) -> None:
    slow, fast = (next(xtts.stream("Olá, tudo bem?", TINY, speed)).length for speed in (0.8, 1.3))
    assert fast < slow


def test_xtts_streams_chunks_that_follow_on_each_other(xtts: XttsEngine) -> None:
    chunks = list(xtts.stream("Olá, tudo bem?", TINY))
    assert len(chunks) >= 2
    assert [chunk.offset for chunk in chunks[1:]] == [chunk.end for chunk in chunks[:-1]]
    assert all(chunk.length > 0 for chunk in chunks[:-1])


def test_a_stream_given_up_halfway_leaves_the_engine_free(xtts: XttsEngine) -> None:
    stream = xtts.stream("Olá, tudo bem?", TINY)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert xtts.synthesize("Olá.", TINY).length > 0


def test_a_cloned_voice_survives_the_round_trip_through_safetensors(xtts: XttsEngine, tmp_path: Path) -> None:
    import torch

    generator = np.random.default_rng(3)
    reference = AudioChunk((generator.standard_normal(16_000 * 4) * 0.1).astype(np.float32), 16_000)
    reference.samples.flags.writeable = False  # as Ray gives arrays back
    latents = xtts.clone([reference])
    save_latents(latents, tmp_path / "voice.safetensors")
    loaded = load_latents(tmp_path / "voice.safetensors")
    assert torch.equal(latents.gpt_cond_latent.cpu(), loaded.gpt_cond_latent)
    assert torch.equal(latents.speaker_embedding.cpu(), loaded.speaker_embedding)

    xtts.remember("cloned", loaded)
    spoken = xtts.synthesize("Olá.", Voice("xtts/cloned", PORTUGUESE, "neutral", "xtts", "cloned"))
    assert spoken.duration_s > 0.3


def test_cloning_wants_three_seconds(xtts: XttsEngine) -> None:
    with pytest.raises(InvalidRequest, match="3 seconds"):
        xtts.clone([AudioChunk(np.zeros(16_000, np.float32), 16_000)])


def test_a_voice_that_is_not_stored_is_missing(xtts: XttsEngine) -> None:
    for speaker in ("nobody", "", "../Tiny Speaker"):
        with pytest.raises(ModelMissing):
            xtts.synthesize("Olá.", Voice("x", PORTUGUESE, "neutral", "xtts", speaker))


def test_xtts_refuses_a_language_it_does_not_speak(xtts: XttsEngine) -> None:
    with pytest.raises(UnsupportedLanguage):
        xtts.synthesize("Hei.", Voice("x", Language("fi"), "neutral", "xtts", "Tiny Speaker"))


def test_latents_are_never_unpickled(tmp_path: Path) -> None:
    """A pickle under the right name is refused, not run."""
    file = tmp_path / "voice.safetensors"
    file.write_bytes(pickle.dumps({"gpt_cond_latent": 1}))
    with pytest.raises(ModelCorrupt):
        load_latents(file)


def test_an_incomplete_checkpoint_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"model\.pth"):
        XttsEngine(tmp_path, tmp_path / "latents")
    with pytest.raises(ModelMissing, match=r"model\.pth"):
        VitsEngine(tmp_path)


def test_a_damaged_checkpoint_is_corrupt(xtts_dir: Path, tmp_path: Path) -> None:
    for name in ("config.json", "vocab.json"):
        (tmp_path / name).write_bytes((xtts_dir / name).read_bytes())
    (tmp_path / "model.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelCorrupt):
        XttsEngine(tmp_path, tmp_path / "latents")


@pytest.fixture(scope="session")
def vits(vits_dir: Path) -> VitsEngine:
    return VitsEngine(vits_dir)


def test_vits_speaks_and_heeds_speed(vits: VitsEngine) -> None:
    voice = Voice("vits/tiny", PORTUGUESE, "neutral", "vits")
    lengths = [vits.synthesize("olá, tudo bem com você?", voice, speed).duration_s for speed in (0.8, 1.3)]
    assert vits.synthesize("olá", voice).rate_hz == 22_050
    assert lengths[0] > lengths[1] > 0


def test_vits_says_nothing_of_signs_it_does_not_know_and_logs_none_of_them(
    vits: VitsEngine, caplog: pytest.LogCaptureFixture
) -> None:
    assert vits.synthesize("漢字", Voice("vits/tiny", PORTUGUESE, "neutral", "vits")).length == 0
    assert "漢" not in caplog.text


def test_a_vits_of_the_catalogue_speaks_through_voice_engines(vits_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "model_file.pth.tar").symlink_to(vits_dir / "model.pth")
    (tmp_path / "config.json").symlink_to(vits_dir / "config.json")
    registry = Registry(ModelSettings(directories={"vits-cv-ro": tmp_path}), tmp_path)
    spoken = VoiceEngines(registry).synthesize("mulțumesc, bine", registry.voice("vits/ro"))
    assert spoken.rate_hz == 22_050
    assert np.abs(spoken.samples).max(initial=0.0) <= 1.0


def test_long_text_is_split_at_clauses() -> None:
    text = ", ".join(["uma frase que se repete"] * 20) + "."
    pieces = split_text(text, 203)
    assert all(len(piece) <= 203 for piece in pieces)
    assert len(pieces) == 3
    assert " ".join(pieces) == text
