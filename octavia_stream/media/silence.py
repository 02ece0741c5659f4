"""Silence as a file: what speech is laid over when there is no original."""

import struct
from pathlib import Path

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_PCM = 1


def write_silence(path: Path, length: int, rate_hz: int) -> None:
    """A mono WAV of `length` samples of 16 bit. Its samples are a hole in the file, so hours take no space on disk."""
    size = length * 2
    header = _HEADER.pack(
        b"RIFF", size + _HEADER.size - 8, b"WAVE", b"fmt ", 16, _PCM, 1, rate_hz, rate_hz * 2, 2, 16, b"data", size
    )
    with path.open("wb") as file:
        file.write(header)
        file.truncate(_HEADER.size + size)
