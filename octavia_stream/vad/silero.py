"""Silero VAD v6 behind ONNX Runtime, streaming."""

from pathlib import Path

import numpy as np
import onnxruntime

from octavia_stream.audio.chunk import Samples
from octavia_stream.vad.detector import VAD_FRAME_SAMPLES, Probabilities

_CONTEXT_SAMPLES = 64
"""The model hears the end of the frame before, too."""

_STATE_SIZE = 128

_FRAMES_PER_CALL = 4096
"""Bounds the memory of one call: 131 s of sound."""


class SileroDetector:
    """A `SpeechDetector`. Holds the state of one stream; the session may be shared."""

    def __init__(self, model_dir: Path, session: onnxruntime.InferenceSession | None = None) -> None:
        """model_dir: what the registry gives for `silero-v6`."""
        self.session = session or _open_session(model_dir / "silero_vad_v6.onnx")
        self._reset()

    def _reset(self) -> None:
        self._hidden = np.zeros((1, 1, _STATE_SIZE), np.float32)
        self._cell = np.zeros((1, 1, _STATE_SIZE), np.float32)
        self._context = np.zeros(_CONTEXT_SAMPLES, np.float32)
        self._rest = np.empty(0, np.float32)

    def push(self, samples: Samples) -> Probabilities:
        heard = np.concatenate((self._rest, samples)) if self._rest.size else samples
        whole = heard.size - heard.size % VAD_FRAME_SAMPLES
        # A copy, so that the caller's array is not kept alive by what is left of it.
        self._rest = heard[whole:].copy()
        step = _FRAMES_PER_CALL * VAD_FRAME_SAMPLES
        parts = [self._run(heard[start : min(start + step, whole)]) for start in range(0, whole, step)]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def finish(self) -> Probabilities:
        rest = self._rest
        last = np.empty(0, np.float32)
        if rest.size:
            last = self._run(np.pad(rest, (0, VAD_FRAME_SAMPLES - rest.size)))
        self._reset()
        return last

    def _run(self, samples: Samples) -> Probabilities:
        """Whole frames in one call: the model's recurrence runs over them in order."""
        frames = samples.reshape(-1, VAD_FRAME_SAMPLES)
        contexts = np.vstack((self._context[None], frames[:-1, -_CONTEXT_SAMPLES:]))
        self._context = frames[-1, -_CONTEXT_SAMPLES:].copy()
        inputs = {"input": np.hstack((contexts, frames)), "h": self._hidden, "c": self._cell}
        probabilities, self._hidden, self._cell = self.session.run(None, inputs)
        return np.asarray(probabilities, np.float32).reshape(-1)


def _open_session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
