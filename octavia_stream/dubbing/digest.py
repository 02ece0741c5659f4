"""Content hashes: the same work has the same digest, whoever asks for it."""

import hashlib

import msgspec

CORRIDOR_VERSION = "2"
"""Changes when the corridor would make something else of the same input; old checkpoints are then redone."""


def digest(*parts: bytes | str | float | int | None) -> str:
    """SHA-256 over all that a result depends on, as hex. Parts cannot run into each other."""
    hasher = hashlib.sha256()
    for part in (CORRIDOR_VERSION, *parts):
        encoded = part if isinstance(part, bytes) else msgspec.json.encode(part)
        hasher.update(len(encoded).to_bytes(8, "little"))
        hasher.update(encoded)
    return hasher.hexdigest()
