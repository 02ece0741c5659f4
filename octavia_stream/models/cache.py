"""A directory of models that many processes fill at once, each model once."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from octavia_stream.errors import StorageFull

_COMPLETE = ".complete"
_READ_BYTES = 1 << 20


class ModelCache:
    """Directories by name below `root`; one exists only when it is whole."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, name: str) -> Path | None:
        """The directory, if it was built to the end."""
        directory = self.root / name
        return directory if (directory / _COMPLETE).is_file() else None

    def build(self, name: str, fill: Callable[[Path], str | None]) -> Path | str:
        """The directory, built now if it is not there; or the reason in words that `fill` gave.

        `fill` gets an empty directory beside the target, which is renamed into place: whoever starts at the same
        time waits for the lock and finds it done, and a build that dies leaves nothing behind that looks whole.
        Raises StorageFull.
        """
        if found := self.get(name):
            return found
        target = self.root / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _locked(target.with_name(f".{target.name}.lock")):
                return self.get(name) or self._build(target, fill)
        except OSError as error:
            raise StorageFull("The models directory cannot be written, or the disk is full.") from error

    def _build(self, target: Path, fill: Callable[[Path], str | None]) -> Path | str:
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            if reason := fill(work):
                return reason
            (work / _COMPLETE).touch()
            # mkdtemp keeps others out; a server that runs as another user must be able to read.
            work.chmod(0o755)
            shutil.rmtree(target, ignore_errors=True)
            work.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return target

    def remove(self, name: str) -> None:
        """Forget a directory, so that the next build makes it anew."""
        (self.root / name / _COMPLETE).unlink(missing_ok=True)


class _Seen(msgspec.Struct, frozen=True):
    size: int
    mtime_ns: int
    sha256: str


class Digests:
    """SHA-256 of files, remembered by size and time of change so that a start need not read gigabytes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def remembered(self, path: Path) -> str:
        """The digest, computed only if the file changed since the last time anybody asked."""
        status = path.stat()
        note = self._root / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
        with suppress(OSError, msgspec.DecodeError):
            seen = msgspec.json.decode(note.read_bytes(), type=_Seen)
            if (seen.size, seen.mtime_ns) == (status.st_size, status.st_mtime_ns):
                return seen.sha256
        digest = file_sha256(path)
        # A read-only directory costs the next start some seconds and nothing else.
        with suppress(OSError):
            self._root.mkdir(parents=True, exist_ok=True)
            replacement = note.with_suffix(f".{os.getpid()}")
            replacement.write_bytes(msgspec.json.encode(_Seen(status.st_size, status.st_mtime_ns, digest)))
            replacement.replace(note)
        return digest


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def join_files(parts: list[Path], target: Path) -> None:
    """Write the parts one after another into one file."""
    with target.open("wb") as joined:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, joined, _READ_BYTES)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock that the kernel gives back if this process dies."""
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
