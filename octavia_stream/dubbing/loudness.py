"""How loud speech is, by ITU-R BS.1770-5, measured as it flows by."""

import threading
from functools import cache

import numpy as np
import pyloudnorm
from numpy.typing import NDArray
from scipy.signal import sosfilt

from octavia_stream.audio.chunk import Samples

SILENCE_LUFS = -70.0
"""The absolute gate of BS.1770: what is quieter counts as silence."""
_RELATIVE_GATE_LU = 10.0
_FRAME_S = 0.1
_BLOCK_FRAMES = 4
"""Integrated loudness is gated by blocks of 400 ms, one of which starts every 100 ms."""


class LoudnessContour:
    """K-weighted power in frames of 100 ms: eight bytes a frame, so hours cost little memory."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._frame = round(_FRAME_S * rate_hz)
        self._sections = _k_weighting(rate_hz)
        self._states: NDArray[np.float64] = np.zeros((len(self._sections), 2))
        self._rest: NDArray[np.float64] = np.zeros(0)
        self._power: list[NDArray[np.float64]] = []
        self._joined: NDArray[np.float64] = np.zeros(0)
        # One thread listens while another asks how loud it was.
        self._lock = threading.Lock()

    @classmethod
    def of_power(cls, power: NDArray[np.float64], rate_hz: int) -> "LoudnessContour":
        """One whose sound was measured before. power: as its own `power` gave it."""
        contour = cls(rate_hz)
        contour._joined = power
        return contour

    def push(self, samples: Samples) -> None:
        """samples: mono, shape (n,), continuing where the last call ended."""
        if not len(samples):
            return
        weighted, self._states = sosfilt(self._sections, samples.astype(np.float64), zi=self._states)
        self._rest = np.concatenate([self._rest, weighted])
        whole = len(self._rest) // self._frame * self._frame
        if whole:
            power = np.mean(self._rest[:whole].reshape(-1, self._frame) ** 2, axis=1)
            with self._lock:
                self._power.append(power)
            self._rest = self._rest[whole:]

    def power(self) -> NDArray[np.float64]:
        """K-weighted power of every whole frame pushed so far."""
        with self._lock:
            if self._power:
                self._joined = np.concatenate([self._joined, *self._power])
                self._power = []
            return self._joined

    def loudness(self, start: int, end: int) -> float:
        """Gated loudness between two positions (samples from the first one pushed), in LUFS."""
        frames = self.power()[start // self._frame : max(-(-end // self._frame), start // self._frame + 1)]
        return _gated(frames)


class IntegratedLoudness:
    """How loud a whole programme is, of one channel or two, measured as it flows by."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._contours = [LoudnessContour(rate_hz) for _ in range(channels)]

    def push(self, samples: Samples) -> None:
        """samples: shape (n,), or (n, channels), continuing where the last call ended."""
        for contour, channel in zip(self._contours, samples.reshape(len(samples), -1).T, strict=True):
            contour.push(channel)

    @property
    def lufs(self) -> float:
        """Of everything pushed so far; SILENCE_LUFS when nothing is to be heard in it."""
        return integrated(sum((contour.power() for contour in self._contours), np.zeros(1)))


def integrated(power: NDArray[np.float64]) -> float:
    """Integrated loudness of K-weighted power in frames of 100 ms, summed over channels, in LUFS."""
    if len(power) < _BLOCK_FRAMES:
        return SILENCE_LUFS
    return _gated(np.convolve(power, np.full(_BLOCK_FRAMES, 1 / _BLOCK_FRAMES), "valid"))


def speech_loudness(samples: Samples, rate_hz: int) -> float:
    """Gated loudness of a whole mono clip, in LUFS."""
    contour = LoudnessContour(rate_hz)
    # A clip shorter than one frame still has a loudness.
    contour.push(np.pad(samples, (0, -len(samples) % round(_FRAME_S * rate_hz))))
    return contour.loudness(0, len(samples))


@cache
def _k_weighting(rate_hz: int) -> NDArray[np.float64]:
    """As second-order sections: the head's high shelf, then the RLB high-pass."""
    shelf = pyloudnorm.IIRfilter(4.0, 1 / np.sqrt(2), 1500.0, rate_hz, "high_shelf")
    high_pass = pyloudnorm.IIRfilter(0.0, 0.5, 38.0, rate_hz, "high_pass")
    return np.array([np.concatenate([f.b, f.a]) / f.a[0] for f in (shelf, high_pass)])


def _gated(power: NDArray[np.float64]) -> float:
    audible = power[power > _power(SILENCE_LUFS)]
    if not audible.size:
        return SILENCE_LUFS
    gate = _power(_lufs(float(audible.mean())) - _RELATIVE_GATE_LU)
    return _lufs(float(audible[audible > gate].mean()))


def _lufs(power: float) -> float:
    return float(-0.691 + 10 * np.log10(power))


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))
