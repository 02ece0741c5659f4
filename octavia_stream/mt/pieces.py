"""SentencePiece: text to pieces and back."""

from collections.abc import Sequence
from pathlib import Path

import sentencepiece

from octavia_stream.errors import ModelCorrupt


class Pieces:
    """One SentencePiece model."""

    def __init__(self, model: Path) -> None:
        """Raises ModelCorrupt when the file is missing or damaged."""
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
        except (OSError, RuntimeError) as error:
            raise ModelCorrupt(
                f"The translation model's vocabulary {model.name} is missing or damaged; install the model again."
            ) from error

    def __len__(self) -> int:
        return int(self._processor.get_piece_size())

    @property
    def end(self) -> int:
        """The id of the end of sentence."""
        return int(self._processor.eos_id())

    @property
    def unknown(self) -> int:
        """The id that stands for what the model has no piece for."""
        return int(self._processor.unk_id())

    def names(self) -> list[str]:
        """Every piece, in order of ids."""
        return [self.name(piece) for piece in range(len(self))]

    def ids(self, text: str) -> list[int]:
        ids: list[int] = self._processor.encode(text, out_type=int)
        return ids

    def split(self, text: str) -> list[str]:
        """The pieces of a text by name."""
        names: list[str] = self._processor.encode(text, out_type=str)
        return names

    def name(self, piece: int) -> str:
        name: str = self._processor.id_to_piece(piece)
        return name

    def join(self, names: Sequence[str]) -> str:
        """Text of pieces given by name; a name that is not in the model stands for itself."""
        text: str = self._processor.decode(list(names))
        return text
