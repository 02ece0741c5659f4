"""Frame: 20 ms of what goes out."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

OUTPUT_RATE_HZ = 48_000
"""What Opus codes and WebRTC carries."""
FRAME_SAMPLES = 960
FRAME_S = FRAME_SAMPLES / OUTPUT_RATE_HZ

PcmSamples: TypeAlias = NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of one language. The same object goes to every listener: read only."""

    samples: PcmSamples
    """Mono, shape (960,)."""
    position: int
    """Of the first sample, counted at 48 kHz from the first frame of this language; a whole number of frames."""
