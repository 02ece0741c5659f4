"""hibari: a small English student of Kokoro, some fifty times cheaper. Brings its own pronunciation rules."""

from pathlib import Path

import numpy as np

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.audio.stretching import stretch
from octavia_stream.errors import ModelCorrupt, ModelMissing, UnsupportedLanguage
from octavia_stream.tts.trimming import joined
from octavia_stream.tts.voice import Voice

RATE_HZ = 24_000

_SEED = 7
"""Of the breath in the voice: the same text gives the same sound, so a repeated chunk equals the first."""

_PAUSE_S = 0.3


class HibariEngine:
    """One loaded voice; may be shared by threads."""

    def __init__(self, model_dir: Path, *, threads: int = 1) -> None:
        """model_dir: holds `hibari.onnx`. Raises ModelMissing, ModelCorrupt."""
        model = model_dir / "hibari.onnx"
        if not model.is_file():
            raise ModelMissing("The hibari voice is not installed: 'pip install hibari-tts'.")
        from hibari import Hibari  # noqa: PLC0415 - optional: importing this file must do without it

        try:
            self._hibari = Hibari(model=str(model), threads=threads)
        except Exception as error:
            raise ModelCorrupt("The hibari voice cannot be loaded; install it again.") from error
        # Its pronunciation rules load at first use and not safely from two threads.
        self._hibari.phonemize("Ready.")

    def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        """Speak text of any length, sentence by sentence, at 24 kHz. Raises UnsupportedLanguage.

        The model's own `speed` rounds each sound to whole frames (1.3 gives 1.15, 1.4 gives 1.6), so its natural
        speech is stretched instead: exact, and understood as well (word error 5.3 % at 1.3, the model's 5.9 %).
        """
        if voice.language != "en":
            raise UnsupportedLanguage("hibari speaks English only.")
        sentences = self._hibari.stream(text, seed=_SEED)
        parts = [(np.asarray(samples, np.float32), _PAUSE_S) for samples in sentences]
        return stretch(AudioChunk(joined(parts, RATE_HZ), RATE_HZ), 1 / speed)
