"""The child's end of its pipes."""

import os
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from octavia_stream.media import wire

ReadSamples = Callable[[int], NDArray[np.float32]]
"""As `read_samples` of one pipe, with a number of channels that both sides know."""
_REQUEST_BYTES = 64 * 1024**2
"""A request may carry the cues of several subtitle tracks."""


class Reports:
    """Frames to the parent."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def samples(self, block: NDArray[np.float32]) -> None:
        """Send interleaved samples; waits while the parent is busy."""
        data = memoryview(np.ascontiguousarray(block, dtype="<f4").tobytes())
        for start in range(0, len(data), wire.BLOCK_BYTES):
            self._frame(wire.FrameKind.SAMPLES, data[start : start + wire.BLOCK_BYTES])

    def content(self, content: bytes) -> None:
        """Send bytes of what is being made; waits while the parent is busy."""
        data = memoryview(content)
        for start in range(0, len(data), wire.BLOCK_BYTES):
            self._frame(wire.FrameKind.BYTES, data[start : start + wire.BLOCK_BYTES])

    def piece(self, content: bytes, piece: wire.StreamPiece) -> None:
        """Send a piece of a stream; waits while the parent is busy."""
        self.content(content)
        self._frame(wire.FrameKind.PIECE, memoryview(msgspec.json.encode(piece)))

    def reached(self, time_s: float) -> None:
        """Say that work goes on, and where on the file's timeline."""
        self._frame(wire.FrameKind.REACHED, memoryview(msgspec.json.encode(wire.Reached(time_s))))

    def result(self, value: object) -> None:
        """Send the answer; the talk is over."""
        self._frame(wire.FrameKind.RESULT, memoryview(msgspec.json.encode(value)))

    def failure(self, code: wire.FailureCode, message: str) -> None:
        """Send why there is no answer; the talk is over."""
        self._frame(wire.FrameKind.ERROR, memoryview(msgspec.json.encode(wire.Failure(code, message))))

    def _frame(self, kind: wire.FrameKind, payload: memoryview) -> None:
        self._write(memoryview(wire.FRAME.pack(kind.value, len(payload))))
        self._write(payload)

    def _write(self, data: memoryview) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]


def read_request(descriptor: int) -> wire.Request:
    """The first message."""
    (length,) = wire.LENGTH.unpack(_read(descriptor, wire.LENGTH.size))
    if length > _REQUEST_BYTES:
        raise ValueError("the request is too long")
    return msgspec.json.decode(_read(descriptor, length), type=wire.Request)


def read_samples(descriptor: int, count: int, channels: int) -> NDArray[np.float32]:
    """Up to `count` samples per channel, shape (n, channels); fewer only at the end of the stream."""
    data = _read(descriptor, count * channels * 4)
    whole = len(data) // (channels * 4) * channels
    return np.frombuffer(data, dtype="<f4", count=whole).reshape(-1, channels)


def _read(descriptor: int, count: int) -> bytes:
    blocks = []
    while count and (block := os.read(descriptor, min(count, wire.BLOCK_BYTES))):
        blocks.append(block)
        count -= len(block)
    return b"".join(blocks)
