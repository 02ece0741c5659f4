"""Reads the binary models of Marian's quantised students (`model.*.intgemm.alphas.bin`).

Layout, little-endian: version and tensor count (2 × uint64); per tensor name length, type, rank and byte size
(4 × uint64); all names; all shapes (int32); the length of a padding (uint64) and the padding; all data.
Source: `src/common/binary.cpp` of browsermt/marian-dev.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from octavia_stream.errors import ModelCorrupt

_VERSION = 1
_INT8, _FLOAT32, _INTGEMM8 = 0x0101, 0x0404, 0x4101
_CONFIG = "special:model.yml"

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Tensor:
    type: int
    shape: tuple[int, ...]
    start: int
    size: int


class MarianWeights(Mapping[str, Floats]):
    """Tensors by name, dequantised to float32 each time they are asked for.

    Every array is a fresh copy: whoever quantises in place (CTranslate2's converter does) cannot spoil another's.
    Embeddings have shape (vocabulary, dim), every other matrix (inputs, outputs), biases and norms (1, n).
    """

    def __init__(self, data: bytes, tensors: Mapping[str, _Tensor]) -> None:
        self._data = data
        self._tensors = tensors

    def __getitem__(self, name: str) -> Floats:
        tensor = self._tensors[name]
        if tensor.type == _FLOAT32:
            return self._read(tensor, np.float32).reshape(tensor.shape).astype(np.float32)
        if tensor.type == _INTGEMM8:
            return self._dequantise(name, tensor)
        raise ModelCorrupt(f"The translation model stores {name!r} in a number format that is not supported.")

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def config(self) -> Mapping[str, object]:
        """The architecture, as Marian wrote it into the model when it was trained."""
        tensor = self._tensors.get(_CONFIG)
        if tensor is None:
            raise ModelCorrupt("The translation model does not describe its own architecture.")
        text = self._data[tensor.start : tensor.start + tensor.size].rstrip(b"\x00\n")
        try:
            config = yaml.safe_load(text)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ModelCorrupt("The translation model's description of itself is damaged.") from error
        if not isinstance(config, dict):
            raise ModelCorrupt("The translation model's description of itself is damaged.")
        return config

    def _read(self, tensor: _Tensor, dtype: type[np.generic]) -> NDArray[np.generic]:
        return np.frombuffer(self._data, dtype, int(np.prod(tensor.shape)), tensor.start)

    def _dequantise(self, name: str, tensor: _Tensor) -> Floats:
        # The multiplier stands right behind the values: weight = value / multiplier.
        values = self._read(tensor, np.int8).astype(np.float32)
        (multiplier,) = struct.unpack_from("<f", self._data, tensor.start + values.size)
        if not multiplier > 0:
            raise ModelCorrupt("The translation model's weights are damaged.")
        values /= np.float32(multiplier)
        rows, columns = tensor.shape
        if name.endswith("Wemb"):
            return values.reshape(rows, columns)
        # intgemm keeps the right-hand side of a product transposed.
        return np.ascontiguousarray(values.reshape(columns, rows).T)


def read_marian_weights(path: Path) -> MarianWeights:
    """Read one model file. Raises ModelCorrupt when it is not whole or not of this format."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelCorrupt("The translation model's weights cannot be read; install the model again.") from error
    try:
        return MarianWeights(data, _index(data))
    except (struct.error, UnicodeDecodeError) as error:
        raise ModelCorrupt("The translation model's weights are damaged; install the model again.") from error


def _index(data: bytes) -> dict[str, _Tensor]:
    version, count = struct.unpack_from("<QQ", data)
    if version != _VERSION or count * 32 > len(data):
        raise ModelCorrupt("The translation model's weights are damaged or not Marian's; install the model again.")
    headers = [struct.unpack_from("<QQQQ", data, 16 + 32 * i) for i in range(count)]
    offset = 16 + 32 * count
    names = []
    for name_length, *_ in headers:
        names.append(data[offset : offset + name_length].rstrip(b"\x00").decode())
        offset += name_length
    shapes = []
    for _, _, rank, _ in headers:
        shapes.append(struct.unpack_from(f"<{rank}i", data, offset))
        offset += 4 * rank
    (padding,) = struct.unpack_from("<Q", data, offset)
    offset += 8 + padding
    tensors = {}
    for name, shape, (_, kind, _, size) in zip(names, shapes, headers, strict=True):
        tensors[name] = _checked(_Tensor(kind, shape, offset, size), len(data))
        offset += size
    return tensors


def _checked(tensor: _Tensor, available: int) -> _Tensor:
    """Refuse a tensor whose data are not all there, before anyone computes with them."""
    width = {_FLOAT32: 4, _INT8: 1, _INTGEMM8: 1}.get(tensor.type, 0)
    multiplier = 4 if tensor.type == _INTGEMM8 else 0
    needed = int(np.prod(tensor.shape, dtype=np.int64)) * width + multiplier
    whole = min(tensor.shape, default=0) > 0 and needed <= tensor.size and tensor.start + tensor.size <= available
    if not whole or (tensor.type == _INTGEMM8 and len(tensor.shape) != 2):
        raise ModelCorrupt("The translation model's weights are cut short or damaged; install the model again.")
    return tensor
