"""Concealment: something in the place of sound that was lost, so that neither ears nor a recogniser trip over the hole.

The last pitch period is repeated and fades within 60 ms, as in appendix I of ITU-T G.711; then there is silence.
"""

import numpy as np

from octavia_stream.audio.chunk import Samples

RATE_HZ = 48_000
LONGEST_SAMPLES = 60 * RATE_HZ // 1000
"""Of one gap; nobody can guess more."""
_JOIN_SAMPLES = 5 * RATE_HZ // 1000
_SHORTEST_PERIOD = RATE_HZ // 400
_LONGEST_PERIOD = RATE_HZ // 66
_HISTORY_SAMPLES = 3 * _LONGEST_PERIOD
_STEP = 4
"""The period is looked for at 12 kHz, which is fine enough for a voice and costs a sixteenth."""


class Concealer:
    """Follows one stream of mono samples at 48 kHz and fills its gaps."""

    def __init__(self) -> None:
        self._history: Samples = np.zeros(_HISTORY_SAMPLES, np.float32)
        self._tail: Samples = np.zeros(0, np.float32)
        """How the sound that was made up would have gone on, to be joined with what comes."""

    def sound(self, samples: Samples) -> Samples:
        """Samples that came, shape (n,); after a gap they are faded in over what was made up."""
        if self._tail.size and samples.size:
            length = min(self._tail.size, samples.size)
            rise = np.linspace(0.0, 1.0, length, dtype=np.float32)
            samples = samples.copy()
            samples[:length] = samples[:length] * rise + self._tail[:length] * (1 - rise)
            self._tail = self._tail[:0]
        self._remember(samples)
        return samples

    def gap(self, length: int) -> Samples:
        """What stands for `length` samples that are lost, shape (length,)."""
        wanted = min(length, LONGEST_SAMPLES) + _JOIN_SAMPLES
        period = _pitch_period(self._history)
        made = np.resize(self._history[-period:], wanted)
        fade = np.clip(1.0 - np.arange(wanted) / LONGEST_SAMPLES, 0.0, 1.0)
        made = (made * fade).astype(np.float32)
        filled = np.zeros(length, np.float32)
        sounding = min(length, LONGEST_SAMPLES)
        filled[:sounding] = made[:sounding]
        self._tail = made[sounding : sounding + _JOIN_SAMPLES]
        self._remember(filled)
        return filled

    def _remember(self, samples: Samples) -> None:
        self._history = np.concatenate([self._history, samples])[-_HISTORY_SAMPLES:]


def _pitch_period(history: Samples) -> int:
    """The shift at which the end of the sound is most like what came before it, in samples."""
    coarse = history[::_STEP]
    shortest, longest = _SHORTEST_PERIOD // _STEP, _LONGEST_PERIOD // _STEP
    reference = coarse[-longest:]
    candidates = np.lib.stride_tricks.sliding_window_view(coarse[: -shortest or None], longest)[-(longest - shortest) :]
    energy = np.sqrt(np.einsum("ij,ij->i", candidates, candidates)) + 1e-9
    best = int(np.argmax(candidates @ reference / energy))
    return (shortest + len(candidates) - 1 - best) * _STEP
