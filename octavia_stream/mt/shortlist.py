"""Lexical shortlists (`lex.*.s2t.bin`): which target pieces a source piece may become.

Layout, little-endian: six uint64 (magic, checksum, number of frequent pieces, best per source piece, number of
offsets, number of ids), then the offsets (uint64, one a source piece and one more), then the ids (uint32).
Source: `src/data/shortlist.h` of browsermt/marian-dev.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from octavia_stream.errors import ModelCorrupt

_MAGIC = 0xF11A48D5013417F5
_HEADER = struct.Struct("<6Q")


class Shortlist:
    """For each source piece, the target pieces it is likely to become."""

    def __init__(self, frequent: int, offsets: NDArray[np.uint64], ids: NDArray[np.uint32]) -> None:
        self._frequent = np.arange(frequent, dtype=np.int64)
        self._offsets = offsets.astype(np.int64)
        self._ids = ids.astype(np.int64)

    @property
    def source_size(self) -> int:
        """How many source pieces it knows."""
        return len(self._offsets) - 1

    @property
    def largest_id(self) -> int:
        """The largest target piece it names."""
        return int(max(self._ids.max(initial=0), self._frequent.max(initial=0)))

    def candidates(self, pieces: Sequence[int]) -> NDArray[np.int64]:
        """Target pieces that a sentence of these source pieces may use, ascending, each once."""
        likely = [self._ids[self._offsets[piece] : self._offsets[piece + 1]] for piece in set(pieces)]
        return np.unique(np.concatenate([self._frequent, *likely]))


def read_shortlist(path: Path) -> Shortlist:
    """Read one shortlist. Raises ModelCorrupt when it is not whole or not of this format."""
    try:
        data = path.read_bytes()
        magic, _, frequent, _, offset_count, id_count = _HEADER.unpack_from(data)
    except (OSError, struct.error) as error:
        raise ModelCorrupt("The translation model's shortlist cannot be read; install the model again.") from error
    if magic != _MAGIC or len(data) != _HEADER.size + 8 * offset_count + 4 * id_count or offset_count < 1:
        raise ModelCorrupt("The translation model's shortlist is damaged; install the model again.")
    offsets = np.frombuffer(data, "<u8", offset_count, _HEADER.size)
    ids = np.frombuffer(data, "<u4", id_count, _HEADER.size + 8 * offset_count)
    if int(offsets[-1]) != id_count or np.any(offsets[1:] < offsets[:-1]):
        raise ModelCorrupt("The translation model's shortlist is damaged; install the model again.")
    return Shortlist(frequent, offsets, ids)
