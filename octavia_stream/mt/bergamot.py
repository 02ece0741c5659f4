"""Bergamot and Firefox Translations students: small Marian models that run fast on a CPU.

The encoder runs in CTranslate2, the SSRU decoder, which CTranslate2 does not have, in NumPy. A model is a directory as
Mozilla publishes it: `model.*.bin`, `vocab.*.spm` or `srcvocab.*.spm` and `trgvocab.*.spm`, and maybe `lex.*.bin`.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from octavia_stream.errors import ModelCorrupt
from octavia_stream.models.cache import ModelCache, file_sha256
from octavia_stream.mt.beam_search import Output, SpecialPieces, beam_search, greedy_search
from octavia_stream.mt.bergamot_encoder import CONVERTER_VERSION, BergamotEncoder, convert_encoder
from octavia_stream.mt.clauses import distinct, has_words, translate_in_clauses
from octavia_stream.mt.marian_architecture import MarianArchitecture, marian_architecture
from octavia_stream.mt.marian_weights import read_marian_weights
from octavia_stream.mt.pieces import Pieces
from octavia_stream.mt.shortlist import Shortlist, read_shortlist
from octavia_stream.mt.ssru import SsruDecoder
from octavia_stream.mt.translator import Hypothesis, Translation

BATCH_SENTENCES = 32
MAX_PIECES = 128
"""Longer sentences are cut: the students were trained on sentences, and Bergamot breaks at 128 too."""
_LENGTH_FACTOR = 2.5
"""An output is at most this many times as long as its source, in pieces."""
_SPARE_PIECES = 4
"""... and these, so that a single word may become an expression."""
_MIN_BEAMS = 4
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""SentencePiece's sign for a space, at the front of a piece."""
_PUNCTUATION = ("Pi", "Pf", "Ps", "Pe", "Pd")
"""Unicode's quotes, brackets and dashes: what the student makes of an unknown one is as good."""


class BergamotEngine:
    """One direction of the family, such as English to Portuguese. Thread-safe: calls share nothing but weights."""

    def __init__(
        self,
        model_dir: Path,
        cache_dir: Path,
        *,
        device: str = "cpu",
        compute_type: str = "int8",
        threads: int = 1,
        shortlist: bool = True,
    ) -> None:
        """Load a model; the first time, convert its encoder into `cache_dir`.

        compute_type: CTranslate2's name for the encoder's arithmetic; the decoder computes in float32.
        threads: of the encoder; the decoder has those of NumPy's BLAS (OMP_NUM_THREADS).
        shortlist: let a sentence use only target pieces that the model's lexicon, where it has one, pairs with its
        words. Measured on 225 news sentences, int8: two to four times faster, chrF within 0.1 of the whole vocabulary.
        Raises ModelCorrupt when the directory holds no whole model of this family.
        """
        model = _one_file(model_dir, "model*.bin")
        weights = read_marian_weights(model)
        architecture = marian_architecture(weights.config())
        self._source, self._target = _vocabularies(model_dir, architecture)
        self._special = SpecialPieces(self._target.end, self._target.unknown)
        self._shortlist = _shortlist(model_dir, architecture) if shortlist else None
        self._decoder = SsruDecoder(weights, architecture)
        quantise = compute_type.startswith("int8")
        name = f"{file_sha256(model)[:16]}-{'int8' if quantise else 'float32'}-{CONVERTER_VERSION}"
        names = self._source.names()

        def load() -> BergamotEncoder:
            directory = cache.build(name, lambda draft: convert_encoder(weights, architecture, names, draft, quantise))
            return BergamotEncoder(Path(directory), device=device, compute_type=compute_type, threads=threads)

        cache = ModelCache(cache_dir / "bergamot")
        try:
            self._encoder = load()
        except ModelCorrupt:
            # The conversion may have been damaged on disk since; the model itself was read without a complaint.
            cache.remove(name)
            self._encoder = load()

    def translate(self, sentences: Sequence[str], hypotheses: int = 1) -> list[Translation]:
        """Translate sentences, one result each, in order.

        hypotheses: above 1 searches with a beam instead of greedily; a sentence may have fewer.
        Raises EngineUnavailable when the device fails.
        """
        return translate_in_clauses(
            sentences,
            lambda clauses: self._translate_clauses(clauses, hypotheses),
            lambda text: len(self._source.ids(text)),
            MAX_PIECES,
        )

    def _translate_clauses(self, clauses: list[str], hypotheses: int) -> list[tuple[Hypothesis, ...]]:
        pieces = [self._source.ids(clause) for clause in clauses]
        # Of like length in a batch: padding is computed and thrown away.
        order = sorted(range(len(pieces)), key=lambda index: len(pieces[index]))
        results: list[tuple[Hypothesis, ...]] = [()] * len(pieces)
        for start in range(0, len(order), BATCH_SENTENCES):
            batch = order[start : start + BATCH_SENTENCES]
            outputs = self._search([pieces[index] for index in batch], hypotheses)
            for index, found in zip(batch, outputs, strict=True):
                unknown = self._unknown(clauses[index], pieces[index])
                texts = [Hypothesis(self._text(output, unknown), output.score) for output in found]
                results[index] = distinct(texts)[:hypotheses]
        return results

    def _unknown(self, clause: str, pieces: list[int]) -> dict[int, str]:
        """Source position → what the model has no piece for: an emoji, a sign, a letter of another script."""
        if self._source.unknown not in pieces:
            return {}
        names = self._source.split(clause)
        spaces = [""] + [_SPACE if name == _SPACE else "" for name in names]
        return {
            i: spaces[i] + names[i]
            for i, piece in enumerate(pieces)
            if piece == self._source.unknown and unicodedata.category(names[i][0]) not in _PUNCTUATION
        }

    def _text(self, output: Output, unknown: Mapping[int, str]) -> str:
        """Spell the output. A sign made from something unknown is only a guess at it: the original is put instead."""
        names: list[str] = []
        copied: int | None = None
        for piece, source in output.pieces:
            name = self._target.name(piece)
            if source not in unknown or has_words(name):
                names.append(name)
                copied = None
            elif source != copied:
                names.append((_SPACE if name.startswith(_SPACE) else "") + unknown[source])
                copied = source
        return " ".join(self._target.join(names).replace(_SPACE, " ").split())

    def _search(self, batch: list[list[int]], hypotheses: int) -> list[list[Output]]:
        sources = [[*pieces, self._source.end] for pieces in batch]
        lengths = np.array([len(pieces) for pieces in sources])
        candidates = None
        if self._shortlist is not None:
            candidates = [self._shortlist.candidates(pieces) for pieces in sources]
        memory = self._decoder.memory(self._encoder.encode(sources), lengths, candidates)
        longest = self._decoder.max_steps
        limits = [min(int(length * _LENGTH_FACTOR) + _SPARE_PIECES, longest) for length in lengths]
        if hypotheses == 1:
            return [[output] for output in greedy_search(self._decoder, memory, limits, self._special)]
        return beam_search(self._decoder, memory, limits, self._special, max(hypotheses, _MIN_BEAMS))


def _vocabularies(model_dir: Path, architecture: MarianArchitecture) -> tuple[Pieces, Pieces]:
    """Source and target pieces: one file for both, or, in newer models, one each."""
    if next(model_dir.glob("srcvocab*.spm"), None) is None:
        shared = Pieces(_one_file(model_dir, "vocab*.spm"))
        source, target = shared, shared
    else:
        source = Pieces(_one_file(model_dir, "srcvocab*.spm"))
        target = Pieces(_one_file(model_dir, "trgvocab*.spm"))
    if len(source) > architecture.source_vocabulary or len(target) > architecture.target_vocabulary:
        raise ModelCorrupt("The translation model's vocabulary belongs to another model; install the model again.")
    return source, target


def _shortlist(model_dir: Path, architecture: MarianArchitecture) -> Shortlist | None:
    if next(model_dir.glob("lex*.bin"), None) is None:
        return None
    shortlist = read_shortlist(_one_file(model_dir, "lex*.bin"))
    if shortlist.source_size < architecture.source_vocabulary or shortlist.largest_id >= architecture.target_vocabulary:
        raise ModelCorrupt("The translation model's shortlist belongs to another model; install the model again.")
    return shortlist


def _one_file(model_dir: Path, pattern: str) -> Path:
    files = sorted(model_dir.glob(pattern))
    if len(files) != 1:
        raise ModelCorrupt(
            f"The translation model has {len(files) or 'no'} files named {pattern} where it should have one; "
            "install the model again."
        )
    return files[0]
