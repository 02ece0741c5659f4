"""Fitted speech between synthesis and mixing: on disk, so that memory does not grow with the film."""

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from octavia_stream.audio.chunk import AudioChunk, Samples


@dataclass(frozen=True, slots=True)
class SpooledSpeech:
    """One utterance in the spool."""

    position: int
    length: int
    rate_hz: int


class SpeechSpool:
    """Appends and reads mono speech as 16-bit samples in one scratch file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self._end = 0

    def append(self, speech: AudioChunk) -> SpooledSpeech:
        """Raises OSError when the disk is full."""
        self._file.write(to_int16(speech.samples).tobytes())
        self._file.flush()
        spooled = SpooledSpeech(self._end, speech.length, speech.rate_hz)
        self._end += speech.length
        return spooled

    def read(self, speech: SpooledSpeech) -> AudioChunk:
        """In any thread: stream and file are mixed at the same time."""
        raw = np.frombuffer(os.pread(self._file.fileno(), speech.length * 2, speech.position * 2), dtype="<i2")
        return AudioChunk(from_int16(raw), speech.rate_hz)

    def __enter__(self) -> "SpeechSpool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def to_int16(samples: Samples) -> NDArray[np.int16]:
    """Float in [-1, 1] to little-endian 16 bit, clipped."""
    clipped: NDArray[np.int16] = np.clip(np.rint(samples * 32767.0), -32768, 32767).astype("<i2")
    return clipped


def from_int16(samples: NDArray[np.int16]) -> Samples:
    """16 bit to float in [-1, 1]."""
    return samples.astype(np.float32) / 32767.0
