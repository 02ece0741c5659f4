"""Port: how likely each moment is speech."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from octavia_stream.audio.chunk import Samples

VAD_FRAME_SAMPLES = 512
"""One probability stands for so many samples at 16 kHz: 32 ms."""

Probabilities = NDArray[np.float32]
"""One value from 0 to 1 for each frame, shape (frames,)."""


class SpeechDetector(Protocol):
    """Listens to one stream from its start to its end and remembers what it heard."""

    def push(self, samples: Samples) -> Probabilities:
        """The probabilities of the frames that are now complete.

        samples: mono float32 in [-1, 1], shape (n,), 16 kHz, any length; what is left of a frame waits for the next.
        """
        ...

    def finish(self) -> Probabilities:
        """The probability of the last, incomplete frame, if there is one; then ready for another stream."""
        ...
