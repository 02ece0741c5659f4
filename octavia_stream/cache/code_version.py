"""Which code the engines are: a result that other code made is not taken for that of this one."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import octavia_stream

ROOMS = ("audio", "asr", "mt", "tts", "languages.py")
"""All that stands behind the three ports, files of data included."""
LIBRARIES = ("ctranslate2", "faster-whisper", "onnxruntime", "onnxruntime-gpu", "sentencepiece", "coqui-tts", "torch")
"""What they compute with, as far as it is installed."""


@cache
def engine_code(module: str) -> str:
    """A digest that changes with what the engines are made of. module: as the setting `engines` names it.

    It is computed from files: nobody has to remember to raise a number.
    """
    hasher = hashlib.sha256()
    for path in _sources(module):
        content = path.read_bytes()
        hasher.update(f"{path.name} {len(content)}\n".encode())
        hasher.update(content)
    for library in LIBRARIES:
        try:
            hasher.update(f"{library} {version(library)}\n".encode())
        except PackageNotFoundError:
            continue
    return hasher.hexdigest()


def _sources(module: str) -> list[Path]:
    root = Path(octavia_stream.__path__[0])
    found = [root / name for name in ROOMS if name.endswith(".py")]
    for room in ROOMS:
        found += [path for path in (root / room).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    spec = find_spec(module)
    if spec is not None and spec.origin is not None:
        found.append(Path(spec.origin))
    return sorted(found)
