"""Where speech begins and ends in a synthesized clip."""

import numpy as np

from octavia_stream.audio.chunk import Samples

_FRAME_S = 0.005
_FLOOR_BELOW_PEAK = 10 ** (-45 / 20)
"""Frames 45 dB under the loudest one are silence: voices of this kind fade to -60 dB and breathe at about -50 dB."""
_FLOOR = 10 ** (-60 / 20)
"""Nothing under -60 dBFS is speech, however quiet the clip."""


def trim_silence(samples: Samples, rate_hz: int, margin_s: float = 0.03) -> Samples:
    """Without leading and trailing silence, but for `margin_s` on each side; a silent clip becomes empty.

    samples: mono, shape (n,). Returns a view. With the default margin at most 50 ms of silence stay on a side.
    """
    frame = max(int(rate_hz * _FRAME_S), 1)
    if samples.shape[0] == 0:
        return samples
    padded = np.pad(samples, (0, -samples.shape[0] % frame)).reshape(-1, frame)
    loudness = np.sqrt(np.mean(np.square(padded, dtype=np.float64), axis=1))
    loud = np.flatnonzero(loudness > max(loudness.max() * _FLOOR_BELOW_PEAK, _FLOOR))
    if loud.size == 0:
        return samples[:0]
    margin = int(rate_hz * margin_s)
    first = max(int(loud[0]) * frame - margin, 0)
    last = min((int(loud[-1]) + 1) * frame + margin, samples.shape[0])
    return samples[first:last]


def bounded(samples: Samples) -> Samples:
    """Float32, finite, in [-1, 1]: what no engine promises and everybody after it relies on."""
    return np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0).astype(np.float32, copy=False)


def joined(parts: list[tuple[Samples, float]], rate_hz: int) -> Samples:
    """Parts in order, each trimmed and followed by its pause in seconds; the last pause is left out."""
    pieces: list[Samples] = []
    pause_s = 0.0
    for samples, after_s in parts:
        spoken = trim_silence(samples, rate_hz)
        if spoken.shape[0] == 0:
            continue
        if pieces:
            pieces.append(np.zeros(int(pause_s * rate_hz), np.float32))
        pieces.append(spoken)
        pause_s = after_s
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
