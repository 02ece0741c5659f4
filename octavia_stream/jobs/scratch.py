"""Scratch space of a worker: gone when the worker is, however it ended."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def worker_scratch(parent: Path) -> Iterator[Path]:
    """A directory held by a lock while the worker lives; first removes those whose worker died.

    The kernel drops the lock of a killed process, so what is unlocked belongs to nobody.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for directory in parent.iterdir():
        _remove_if_abandoned(directory)
    directory, lock = _locked_directory(parent)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _locked_directory(parent: Path) -> tuple[Path, int]:
    """A new directory and its lock. A worker that starts at the same time may remove it before it is locked."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix="worker-", dir=parent))
        try:
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if directory.exists():
            return directory, lock
        os.close(lock)


def abandoned_scratch(parent: Path) -> list[Path]:
    """Directories on this machine whose worker is dead. They go when the next worker starts."""
    directories = list(parent.iterdir()) if parent.exists() else []
    return [directory for directory in directories if _with_lock(directory, lambda _: None)]


def _remove_if_abandoned(directory: Path) -> None:
    _with_lock(directory, lambda path: shutil.rmtree(path, ignore_errors=True))


def _with_lock(directory: Path, act: Callable[[Path], None]) -> bool:
    """Act on a directory that nobody holds; returns whether it was so."""
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        act(directory)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
