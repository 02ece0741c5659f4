"""VoiceEngines: every installed voice behind one synthesizer."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.errors import ModelMissing
from octavia_stream.tts import coqui, hibari, kokoro
from octavia_stream.tts.espeak import Phonemizer
from octavia_stream.tts.normalisation import spoken_text
from octavia_stream.tts.trimming import bounded, trim_silence
from octavia_stream.tts.voice import Voice

SLOWEST, FASTEST = 0.8, 1.3
"""Beyond these the voices become hard to follow."""

EMPTY_RATE_HZ = 24_000
"""Rate of the chunk that says nothing: no model is loaded for it."""

_SAMPLE_SENTENCES = {"en": "Ready.", "pt": "Pronto."}


class SpeechEngine(Protocol):
    """One loaded model. Its sound may have silence at the ends and samples out of range."""

    def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk: ...


class ModelDescription(Protocol):
    """What is read here of a catalogue entry."""

    @property
    def engine(self) -> str: ...

    @property
    def options(self) -> Mapping[str, str]: ...


class LocatedModel(Protocol):
    """A model's directory and its entry."""

    @property
    def path(self) -> Path: ...

    @property
    def entry(self) -> ModelDescription: ...


class ModelSource(Protocol):
    """The part of the registry that is used here."""

    cache_dir: Path

    def resolve(self, model_id: str) -> LocatedModel:
        """Raises ModelMissing, ModelCorrupt, NotFound."""
        ...

    def derived(self, recipe: str, source: Path, make: Callable[[Path], None]) -> Path | None:
        """A file made of a model's file, kept; None when there is no room."""
        ...


class VoiceEngines:
    """Loads a voice's model at its first sentence and keeps the last few; may be shared by threads."""

    def __init__(self, registry: ModelSource, *, device: str = "cpu", threads: int = 1, kept: int = 3) -> None:
        """threads: of each model. kept: how many models stay in memory (a Kokoro takes about 440 MB)."""
        self._registry = registry
        self._device = device
        self._threads = threads
        self._kept = kept
        self._loaded: OrderedDict[str, SpeechEngine] = OrderedDict()
        self._loading = Lock()
        self._phonemizer: Phonemizer | None = None

    def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        """As `Synthesizer.synthesize`."""
        words = spoken_text(text, voice.language)
        if not words:
            return AudioChunk(np.zeros(0, np.float32), EMPTY_RATE_HZ)
        raw = self._engine(voice.model).synthesize(words, voice, min(max(speed, SLOWEST), FASTEST))
        return AudioChunk(trim_silence(bounded(raw.samples), raw.rate_hz), raw.rate_hz)

    def prepare(self, voice: Voice) -> None:
        """Load a voice's model and let it say one word, so that the first sentence does not wait for it.

        Raises ModelMissing, ModelCorrupt, EngineUnavailable.
        """
        self.synthesize(_SAMPLE_SENTENCES.get(voice.language, "1, 2"), voice)

    def close(self) -> None:
        """Forget every model and end espeak-ng; the next call starts anew."""
        with self._loading:
            self._loaded.clear()
            if self._phonemizer is not None:
                self._phonemizer.close()
                self._phonemizer = None

    def _engine(self, model_id: str) -> SpeechEngine:
        with self._loading:
            if model_id not in self._loaded:
                self._loaded[model_id] = self._open(model_id)
            self._loaded.move_to_end(model_id)
            while len(self._loaded) > self._kept:
                self._loaded.popitem(last=False)  # a thread that still speaks with it keeps it alive
            return self._loaded[model_id]

    def _open(self, model_id: str) -> SpeechEngine:
        model = self._registry.resolve(model_id)
        match model.entry.engine:
            case "kokoro":
                self._phonemizer = self._phonemizer or Phonemizer()
                return kokoro.KokoroEngine(
                    model.path,
                    self._phonemizer,
                    threads=self._threads,
                    device=self._device,
                    derive=self._registry.derived,
                )
            case "hibari":
                return hibari.HibariEngine(model.path, threads=self._threads)
            case "coqui-xtts":
                latents_dir = self._registry.cache_dir / "latents" / model_id
                return coqui.XttsEngine(model.path, latents_dir, threads=self._threads, device=self._device)
            case "coqui-vits":
                options = model.entry.options
                return coqui.VitsEngine(
                    model.path,
                    checkpoint=options.get("checkpoint", "model.pth"),
                    config=options.get("config", "config.json"),
                    threads=self._threads,
                    device=self._device,
                )
            case engine:
                raise ModelMissing(f"The model {model_id!r} cannot speak: its engine is {engine!r}.")
