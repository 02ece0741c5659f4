"""What the launcher keeps in home: the lock, the note where the stack is found, Ray's directory and token."""

import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec

from octavia_stream.errors import Conflict

LONGEST_RAY_DIRECTORY = 40
"""Ray appends 63 characters to reach its sockets, and a Unix socket's path has at most 107."""


class RunningStack(msgspec.Struct, frozen=True):
    """`serve.json`: written when the stack is ready, removed when it ends."""

    api_url: str
    pid: int


class HomeLock:
    """One stack per home. The kernel frees the lock when its holder dies."""

    def __init__(self, home: Path) -> None:
        self._path = home / "serve.lock"
        self._descriptor: int | None = None

    def take(self) -> None:
        """Raises Conflict when another process holds it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise Conflict(
                f"octavia-stream already runs here (process {holder}); stop it, or set OCTAVIA_HOME to another place."
            ) from None
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._descriptor is not None

    def give_back(self) -> None:
        """May be called twice. The file stays: removing it would let two holders lock different files."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def held_by_somebody(self) -> bool:
        """Whether a stack runs on this home, in whatever process."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


def announce(home: Path, api_url: str) -> None:
    """Tell `octavia dub` and others where the stack is."""
    note = home / "serve.json"
    draft = note.with_suffix(".new")
    draft.write_bytes(msgspec.json.encode(RunningStack(api_url, os.getpid())))
    draft.replace(note)


def withdraw(home: Path) -> None:
    (home / "serve.json").unlink(missing_ok=True)


def find_stack(home: Path) -> RunningStack | None:
    """The stack that is ready on this home, or None. A note that a killed launcher left does not count."""
    try:
        stack = msgspec.json.decode((home / "serve.json").read_bytes(), type=RunningStack)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return stack if HomeLock(home).held_by_somebody() else None


def drain_request(home: Path) -> Path:
    """A file that the launcher makes when it wants the JobWorker to give its jobs back; the worker removes it when
    it has. It works on one machine; on a cluster Serve itself tells its replicas."""
    return home / "drain"


def live_drain_request(home: Path) -> Path:
    """The same for the live node, which then lets its sessions go to wherever they can go on."""
    return home / "drain-live"


def ray_token(home: Path) -> Path:
    """A file with the secret that Ray's processes know each other by; made once, readable by its owner alone."""
    path = home / "ray-token"
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    return path


def ray_directory(home: Path) -> Path:
    """An empty directory with a short path for Ray's sockets and logs; what an earlier node left there goes."""
    path = home.resolve() / "ray"
    if len(str(path)) > LONGEST_RAY_DIRECTORY:
        name = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:10]
        path = Path(tempfile.gettempdir()) / f"octavia-{os.geteuid()}-{name}"
    _refuse_foreign(path)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_foreign(path)
    return path


def _refuse_foreign(path: Path) -> None:
    """The temporary directory is everybody's: somebody else may have put a trap there under our name."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if found.st_uid != os.geteuid() or path.is_symlink():
        raise Conflict("Ray's temporary directory belongs to another user: set TMPDIR to a place of your own.")
