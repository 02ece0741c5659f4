"""XTTS v2 and VITS through the maintained fork of Coqui TTS.

torch and TTS are imported when an engine is made, never by importing this file. Whatever is kept of a voice is
safetensors: nothing here unpickles objects.
"""

import importlib.util
import logging
import os
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from octavia_stream.audio.chunk import AudioChunk, Samples
from octavia_stream.errors import InvalidRequest, ModelCorrupt, ModelMissing, UnsupportedLanguage
from octavia_stream.languages import Language
from octavia_stream.tts.espeak import split_clauses
from octavia_stream.tts.trimming import joined
from octavia_stream.tts.voice import Voice

XTTS_RATE_HZ = 24_000

XTTS_CHARACTERS: Mapping[str, int] = {
    "en": 250, "de": 253, "fr": 273, "es": 239, "it": 213, "pt": 203, "pl": 224, "zh": 82, "ar": 166, "cs": 186,
    "ru": 182, "nl": 251, "tr": 226, "ja": 71, "hu": 224, "ko": 95, "hi": 150,
}  # fmt: skip
"""Languages and their longest text of one call; beyond it the model breaks off (its tokenizer's `char_limits`)."""

SHORTEST_REFERENCE_S, LONGEST_REFERENCE_S = 3.0, 30.0
_REFERENCE_RATE_HZ = 22_050
_PAUSE_S = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class VoiceLatents:
    """What XTTS knows of a voice: two tensors, float32."""

    gpt_cond_latent: Any
    """Shape (1, 32, model width): how it speaks."""
    speaker_embedding: Any
    """Shape (1, 512, 1): how it sounds."""


def save_latents(latents: VoiceLatents, path: Path) -> None:
    """Write safetensors; a reader never sees half a file."""
    from safetensors.torch import save_file  # noqa: PLC0415 - optional

    tensors = {
        "gpt_cond_latent": latents.gpt_cond_latent.detach().cpu().contiguous().clone(),
        "speaker_embedding": latents.speaker_embedding.detach().cpu().contiguous().clone(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    save_file(tensors, str(unfinished))
    unfinished.replace(path)


def load_latents(path: Path) -> VoiceLatents:
    """Raises ModelMissing, ModelCorrupt."""
    from safetensors import SafetensorError  # noqa: PLC0415 - optional
    from safetensors.torch import load_file  # noqa: PLC0415

    if not path.is_file():
        raise ModelMissing("This voice is not stored here.")
    try:
        tensors = load_file(str(path))
        return VoiceLatents(tensors["gpt_cond_latent"], tensors["speaker_embedding"])
    except (SafetensorError, KeyError) as error:
        raise ModelCorrupt("The file of this voice is damaged.") from error


class XttsEngine:
    """One loaded XTTS v2; calls are taken one at a time, for its decoder keeps state."""

    def __init__(
        self,
        model_dir: Path,
        latents_dir: Path,
        *,
        threads: int = 1,
        device: str = "cpu",
        max_new_tokens: int | None = None,
        stream_chunk_tokens: int = 20,
    ) -> None:
        """model_dir: `model.pth`, `config.json`, `vocab.json`, perhaps `speakers_xtts.pth`.

        latents_dir: voices as `NAME.safetensors`; the model's own speakers are converted into it once.
        max_new_tokens: bound on one call's sound (46 ms each); None leaves it to the model to stop.
        stream_chunk_tokens: sound of one streamed chunk, 20 are 0.9 s.
        Raises ModelMissing, ModelCorrupt.
        """
        self._torch = import_torch(threads)
        self._device = device
        self._latents_dir = latents_dir
        self._generation = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
        self._chunk_tokens = stream_chunk_tokens
        self._model = _load_xtts(model_dir, device)
        self._latents: dict[str, VoiceLatents] = {}
        self._speaking = Lock()
        self._convert_speakers(model_dir / "speakers_xtts.pth")

    def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        """Speak text of any length, in pieces the model can hold, at 24 kHz.

        Raises UnsupportedLanguage, ModelMissing (no such voice).
        """
        code, latents = self._code(voice.language), self._voice(voice.speaker)
        parts: list[tuple[Samples, float]] = []
        for piece in split_text(text, XTTS_CHARACTERS[voice.language]):
            with self._speaking:
                spoken = self._model.inference(
                    piece,
                    code,
                    latents.gpt_cond_latent,
                    latents.speaker_embedding,
                    speed=speed,
                    **self._settings(),
                    **self._generation,
                )
            parts.append((np.asarray(spoken["wav"], np.float32), _PAUSE_S))
        return AudioChunk(joined(parts, XTTS_RATE_HZ), XTTS_RATE_HZ)

    def stream(self, text: str, voice: Voice, speed: float = 1.0) -> Iterator[AudioChunk]:
        """The same while it is being made: chunks follow on each other, offsets counted from the first.

        Every chunk costs a pass of the vocoder over its whole piece so far, hence short pieces.
        """
        code, latents = self._code(voice.language), self._voice(voice.speaker)
        position = 0
        for piece in split_text(text, XTTS_CHARACTERS[voice.language]):
            with self._speaking:
                chunks = self._model.inference_stream(
                    piece,
                    code,
                    latents.gpt_cond_latent,
                    latents.speaker_embedding,
                    stream_chunk_size=self._chunk_tokens,
                    speed=speed,
                    **self._settings(),
                    **self._generation,
                )
                for chunk in chunks:
                    samples = chunk.detach().cpu().numpy().astype(np.float32, copy=False)
                    yield AudioChunk(samples, XTTS_RATE_HZ, position)
                    position += samples.shape[0]

    def clone(self, references: Sequence[AudioChunk]) -> VoiceLatents:
        """A voice from recordings of one person, mono at any rate, 3 s of them at least.

        Raises InvalidRequest when there is too little to learn from.
        """
        if sum(reference.duration_s for reference in references) < SHORTEST_REFERENCE_S:
            raise InvalidRequest(f"A voice needs at least {SHORTEST_REFERENCE_S:.0f} seconds of speech to be cloned.")
        clips = [self._reference(reference) for reference in references]
        with self._speaking, self._torch.inference_mode():
            embeddings = [self._model.get_speaker_embedding(clip, _REFERENCE_RATE_HZ) for clip in clips]
            latent = self._model.get_gpt_cond_latents(
                self._torch.cat(clips, dim=-1), _REFERENCE_RATE_HZ, length=int(LONGEST_REFERENCE_S)
            )
            return VoiceLatents(latent.clone(), self._torch.stack(embeddings).mean(dim=0).clone())

    def remember(self, speaker: str, latents: VoiceLatents) -> None:
        """Store a voice under a name; `Voice.speaker` then means it."""
        save_latents(latents, self._latents_file(speaker))
        self._latents[speaker] = latents

    def speakers(self) -> list[str]:
        """Names of the voices that are stored."""
        return sorted(path.stem for path in self._latents_dir.glob("*.safetensors"))

    def _reference(self, reference: AudioChunk) -> Any:
        """Shape (1, n) at 22,050 Hz, the first 30 s."""
        from torchaudio.functional import resample  # noqa: PLC0415 - optional

        samples = self._torch.from_numpy(np.array(reference.samples, np.float32).reshape(1, -1))
        if reference.rate_hz != _REFERENCE_RATE_HZ:
            samples = resample(samples, reference.rate_hz, _REFERENCE_RATE_HZ)
        return samples[:, : int(LONGEST_REFERENCE_S * _REFERENCE_RATE_HZ)].to(self._device)

    def _code(self, language: Language) -> str:
        """XTTS's name for a language."""
        if language not in XTTS_CHARACTERS:
            raise UnsupportedLanguage(f"XTTS does not speak {language!r}.")
        return "zh-cn" if language == "zh" else language

    def _voice(self, speaker: str) -> VoiceLatents:
        if speaker not in self._latents:
            self._latents[speaker] = load_latents(self._latents_file(speaker))
        return self._latents[speaker]

    def _latents_file(self, speaker: str) -> Path:
        if not speaker or "/" in speaker or speaker.startswith("."):  # it becomes part of a path
            raise ModelMissing("This voice is not stored here.")
        return self._latents_dir / f"{speaker}.safetensors"

    def _settings(self) -> dict[str, float]:
        """What the model's publisher found best; `inference` alone would not look at it."""
        names = ("temperature", "length_penalty", "repetition_penalty", "top_k", "top_p")
        return {name: self._model.config[name] for name in names}

    def _convert_speakers(self, pickled: Path) -> None:
        if not pickled.is_file():
            return
        try:
            speakers = self._torch.load(pickled, map_location="cpu", weights_only=True)
            for name, tensors in speakers.items():
                if not self._latents_file(name).is_file():
                    latents = VoiceLatents(tensors["gpt_cond_latent"], tensors["speaker_embedding"])
                    save_latents(latents, self._latents_file(name))
        except (KeyError, AttributeError, RuntimeError, OSError) as error:
            raise ModelCorrupt("The speakers of the XTTS model cannot be read; install it again.") from error


class VitsEngine:
    """One loaded VITS; a single voice, or several chosen by `Voice.speaker`."""

    def __init__(
        self,
        model_dir: Path,
        *,
        checkpoint: str = "model.pth",
        config: str = "config.json",
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        """checkpoint, config: names of files in model_dir. Raises ModelMissing, ModelCorrupt."""
        self._torch = import_torch(threads)
        for name in (checkpoint, config):
            if not (model_dir / name).is_file():
                raise ModelMissing(f"The VITS model is not complete: it lacks {name!r}.")
        self._model = _load_vits(model_dir / checkpoint, model_dir / config, device)
        self._rate_hz = int(self._model.config.audio.sample_rate)
        self._natural_length = float(self._model.length_scale)
        self._speaking = Lock()

    def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        """Speak text of any length, sentence by sentence, at the model's own rate."""
        parts: list[tuple[Samples, float]] = []
        for piece in split_text(text, 250):
            if len(self._model.tokenizer.text_to_ids(piece)) < 2:  # only padding: no letter that the model knows
                continue
            with self._speaking, self._torch.inference_mode():
                self._model.length_scale = self._natural_length / speed
                spoken = self._model.synthesize(piece, speaker=voice.speaker or None)
            parts.append((np.asarray(spoken["wav"], np.float32).reshape(-1), _PAUSE_S))
        return AudioChunk(joined(parts, self._rate_hz), self._rate_hz)


def split_text(text: str, longest: int) -> list[str]:
    """Pieces of at most `longest` characters, cut at clauses and as few as possible."""
    pieces: list[str] = []
    for clause, mark in split_clauses(text, longest - 1):
        spoken = clause + mark
        if pieces and len(pieces[-1]) + 1 + len(spoken) <= longest:
            pieces[-1] += " " + spoken
        else:
            pieces.append(spoken)
    return pieces


def import_torch(threads: int) -> Any:
    """torch, in a state in which Coqui can be imported after it. Raises ModelMissing."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("TTS") is None:
        raise ModelMissing("This voice needs Coqui TTS: pip install 'octavia-stream[coqui]'.")
    import torch  # noqa: PLC0415 - optional

    # Its warnings quote the text that is spoken, which is nobody's business.
    logging.getLogger("TTS").setLevel(logging.ERROR)
    torch.set_num_threads(threads)
    _allow_cpu_torchaudio(torch)
    return torch


def _allow_cpu_torchaudio(torch: Any) -> None:
    """Let torchaudio's Python code run beside a CPU torch.

    The published wheels are linked against CUDA, and importing their extension fails without it; XTTS needs
    only mel spectrograms and resampling, which are plain torch.
    """
    if torch.version.cuda is not None or "torchaudio" in sys.modules:
        return
    extension: Any = types.ModuleType("torchaudio._extension")
    extension._IS_TORCHAUDIO_EXT_AVAILABLE = extension._IS_ALIGN_AVAILABLE = False
    extension.fail_if_no_align = lambda function: function
    extension._check_cuda_version = lambda: None
    sys.modules["torchaudio._extension"] = extension


def _load_xtts(model_dir: Path, device: str) -> Any:
    from TTS.tts.configs.xtts_config import XttsConfig  # noqa: PLC0415 - optional
    from TTS.tts.models.xtts import Xtts  # noqa: PLC0415

    for name in ("model.pth", "config.json", "vocab.json"):
        if not (model_dir / name).is_file():
            raise ModelMissing(f"The XTTS model is not complete: it lacks {name!r}.")
    try:
        config = XttsConfig()
        config.load_json(str(model_dir / "config.json"))
        model = Xtts(config)
        # Its own loader of speakers is passed by: they are converted instead.
        model.load_checkpoint(config, checkpoint_dir=str(model_dir), eval=True, speaker_file_path="absent")
    except Exception as error:
        raise ModelCorrupt("The XTTS model cannot be loaded; install it again.") from error
    return model.to(device)


def _load_vits(checkpoint: Path, config_file: Path, device: str) -> Any:
    from TTS.config import load_config  # noqa: PLC0415 - optional
    from TTS.tts.models.vits import Vits  # noqa: PLC0415

    try:
        config = load_config(str(config_file))
        model = Vits(config)
        model.load_checkpoint(config, str(checkpoint), eval=True)
    except Exception as error:
        raise ModelCorrupt("The VITS model cannot be loaded; install it again.") from error
    return model.to(device)
