"""Kokoro-82M through ONNX Runtime: small, many languages, no cloning."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime
import structlog
from numpy.typing import NDArray

from octavia_stream.audio.chunk import AudioChunk, Samples
from octavia_stream.audio.stretching import stretch
from octavia_stream.errors import ModelCorrupt, ModelMissing, UnsupportedLanguage
from octavia_stream.languages import Language
from octavia_stream.tts import convolutions
from octavia_stream.tts.espeak import Phonemizer
from octavia_stream.tts.trimming import joined
from octavia_stream.tts.voice import Voice

logger = structlog.get_logger(__name__)

RATE_HZ = 24_000
PACKAGED_VOICES = Path(__file__).parent / "voices"

MAX_IDS = 510
"""Phonemes of one call; the voice vectors have a row for each length up to it."""

ESPEAK_VOICES: Mapping[str, str] = {"pt": "pt-br", "en": "en-us", "es": "es", "fr": "fr", "it": "it"}
"""Language → espeak-ng voice whose phonemes Kokoro was trained on."""

_PAUSES_S = {".": 0.35, "!": 0.35, "?": 0.35, "…": 0.4, ";": 0.25, ":": 0.25, "—": 0.2, ",": 0.15}
"""Silence between two calls, by the mark between them: about what the model leaves there itself."""

_MODEL_SPEEDS = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
_REAL_SPEEDS = (0.68, 0.805, 0.935, 1.0, 1.06, 1.135, 1.215)
"""What the model's `speed` does to durations, measured: it rounds each sound to whole frames of 25 ms, and from 1.3
to 1.4 it leaps to 1.5. Beyond the last value the rest is stretched."""

# The model's alphabet is misaki's (the phonemizer it was trained with): one letter for a diphthong or an affricate.
_SHARED = (
    ("aɪ", "I"), ("aʊ", "W"), ("dʒ", "ʤ"), ("eɪ", "A"), ("oʊ", "O"), ("tʃ", "ʧ"), ("ɔɪ", "Y"),
)  # fmt: skip
_LATIN = (*_SHARED, ("ts", "ʦ"), ("dz", "ʣ"))
_ENGLISH = (
    *_SHARED, ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɚ", "əɹ"), ("ɪə", "iə"), ("əl", "ᵊl"), ("ʔn\u0329", "tᵊn"),
    ("n\u0329", "ᵊn"), ("ɐ", "ə"), ("ɾ", "T"), ("ʔ", "t"), ("r", "ɹ"), ("x", "k"), ("ç", "k"), ("ː", ""),
    ("ʲ", ""), ("\u0303", ""),
)  # fmt: skip


def to_alphabet(phonemes: str, language: Language) -> str:
    """espeak-ng's IPA (NFD) in the letters of the model."""
    for ipa, letter in _ENGLISH if language == "en" else _LATIN:
        phonemes = phonemes.replace(ipa, letter)
    return phonemes


def split_phonemes(phonemes: str, longest: int = MAX_IDS) -> list[str]:
    """Pieces of at most `longest` letters, cut after a sentence, else after a clause, a word, or anywhere.

    A cut in the first third of the room is too early to be worth the better mark.
    """
    pieces = []
    rest = phonemes.strip()
    while len(rest) > longest:
        cut = longest
        for marks in (".!?…", ",;:—", " "):
            last = max(rest.rfind(mark, 0, longest) for mark in marks)
            if last >= longest // 3:
                cut = last + 1
                break
        pieces.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    return [*pieces, rest] if rest else pieces


Derive = Callable[[str, Path, Callable[[Path], None]], Path | None]
"""As `Registry.derived`: keeps what was made of a file."""


class KokoroEngine:
    """One loaded model; may be shared by threads."""

    def __init__(
        self,
        model_dir: Path,
        phonemizer: Phonemizer,
        *,
        voices_dir: Path = PACKAGED_VOICES,
        threads: int = 1,
        device: str = "cpu",
        derive: Derive | None = None,
    ) -> None:
        """model_dir: holds one `.onnx` (ours or the hub's layout) and, if it likes, `voices/*.bin`.

        voices_dir: where else voice vectors are. derive: keeps the rewritten graph; without, each load rewrites it.
        Raises ModelMissing, ModelCorrupt.
        """
        self._voice_dirs = (model_dir / "voices", voices_dir)
        self._phonemizer = phonemizer
        self._session = open_session(_find_model(model_dir), threads, device, derive)
        self._ids_name = self._session.get_inputs()[0].name  # `tokens` or `input_ids`, by exporter
        self._vocabulary: dict[str, int] = json.loads((PACKAGED_VOICES / "vocabulary.json").read_text("utf-8"))
        self._styles: dict[str, NDArray[np.float32]] = {}
        self._styles_lock = Lock()

    def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        """Speak text of any length, in pieces where it must be, at 24 kHz.

        Raises ModelMissing (no such voice), UnsupportedLanguage, EngineUnavailable.
        """
        style = self._style(voice.speaker)
        model_speed = float(np.interp(speed, _REAL_SPEEDS, _MODEL_SPEEDS))
        phonemes = to_alphabet(self._phonemizer.phonemize(text, _espeak_voice(voice.language)), voice.language)
        known = "".join(letter for letter in phonemes if letter in self._vocabulary)
        parts = [
            (self._speak(piece, style, model_speed), _PAUSES_S.get(piece[-1], 0.05)) for piece in split_phonemes(known)
        ]
        spoken = AudioChunk(joined(parts, RATE_HZ), RATE_HZ)
        return stretch(spoken, min(max(speed, _REAL_SPEEDS[0]), _REAL_SPEEDS[-1]) / speed)

    def _speak(self, letters: str, style: NDArray[np.float32], speed: float) -> Samples:
        ids = [self._vocabulary[letter] for letter in letters]
        inputs = {
            self._ids_name: np.array([[0, *ids, 0]], np.int64),
            "style": style[len(ids) - 1][None],
            "speed": np.array([speed], np.float32),
        }
        samples: Samples = self._session.run(None, inputs)[0].reshape(-1)
        return samples

    def _style(self, speaker: str) -> NDArray[np.float32]:
        """Shape (510, 256): a row for every number of phonemes. `a+b` is the mean of two voices."""
        with self._styles_lock:
            if speaker not in self._styles:
                vectors = [self._load_vector(name) for name in speaker.split("+")]
                self._styles[speaker] = (sum(vectors[1:], vectors[0]) / len(vectors)).astype(np.float32)
            return self._styles[speaker]

    def _load_vector(self, name: str) -> NDArray[np.float32]:
        if not name.replace("_", "").isalnum():  # it becomes part of a path
            raise ModelMissing(f"There is no Kokoro voice {name!r}.")
        for directory in self._voice_dirs:
            packaged, raw = directory / f"{name}.npy", directory / f"{name}.bin"
            if packaged.is_file():
                vector: NDArray[np.float32] = np.load(packaged, allow_pickle=False).astype(np.float32)
            elif raw.is_file():
                vector = np.fromfile(raw, np.float32)
            else:
                continue
            if vector.size != MAX_IDS * 256:
                raise ModelCorrupt(f"The file of the Kokoro voice {name!r} is damaged.")
            return vector.reshape(MAX_IDS, 256)
        raise ModelMissing(f"There is no Kokoro voice {name!r}.")


def _espeak_voice(language: Language) -> str:
    try:
        return ESPEAK_VOICES[language]
    except KeyError:
        raise UnsupportedLanguage(f"Kokoro does not speak {language!r} here.") from None


def _find_model(model_dir: Path) -> Path:
    files = sorted(model_dir.glob("*.onnx")) or sorted(model_dir.glob("onnx/*.onnx"))
    if not files:
        raise ModelMissing("The Kokoro model is not installed: its directory holds no .onnx file.")
    return files[0]


def open_session(model: Path, threads: int, device: str, derive: Derive | None = None) -> Any:
    """An `onnxruntime.InferenceSession` of the model, rewritten where that helps. Raises ModelCorrupt."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads that spin would burn the cores of the neighbours.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CPUExecutionProvider"]
    if device == "cuda":
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            providers.insert(0, "CUDAExecutionProvider")
        else:
            logger.warning("kokoro_on_cpu", reason="this onnxruntime has no CUDA; install onnxruntime-gpu")
    try:
        on_cpu = len(providers) == 1 and convolutions.gain_here()
        content = _rewritten(model, derive) if on_cpu else str(model)
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:
        raise ModelCorrupt("The Kokoro model cannot be loaded; install it again.") from error


def _rewritten(model: Path, derive: Derive | None) -> str | bytes:
    """The path of the rewritten graph, or the graph itself: some 270 MB more while it is loaded, 100 MB more after."""

    def write(target: Path) -> None:
        target.write_bytes(convolutions.as_matrix_products(model))

    if derive is not None:
        if (kept := derive(convolutions.RECIPE, model, write)) is not None:
            return str(kept)
        logger.warning("kokoro_not_kept", reason="the rewritten model cannot be written; each load makes it anew")
    return convolutions.as_matrix_products(model)
