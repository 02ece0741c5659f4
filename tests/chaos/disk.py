"""A disk of our own, small enough to be filled."""

import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = "768m"
BLOCK_BYTES = 1024 * 1024


@contextmanager
def small_disk(size: str = SIZE) -> Iterator[tuple[Path, bool]]:
    """An empty directory and whether it is a disk of its own; only root may have that.

    Its path is short, for Ray's sockets lie below it.
    """
    place = Path(tempfile.mkdtemp(prefix="chaos-"))
    place.chmod(0o755)
    options = f"size={size},mode=755"
    mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "chaos", place], check=False, capture_output=True
    ).returncode
    try:
        yield place, mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", place], check=True)
        else:
            subprocess.run(["rm", "-rf", "--one-file-system", place], check=True)
        if place.exists():
            place.rmdir()


def fill(place: Path) -> Path:
    """Take every byte that is left; returns the file to remove for an end of it."""
    ballast = place / f"ballast-{secrets.token_hex(4)}"
    with ballast.open("wb", buffering=0) as file:
        for size in (BLOCK_BYTES, 4096, 1):
            try:
                while True:
                    file.write(os.urandom(1) * size)
            except OSError:
                continue
    return ballast
