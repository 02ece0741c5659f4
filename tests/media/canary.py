"""A hostile child: confines itself as the real one does, then tries everything it should not be able to do.

python canary.py LAYERS INPUT OUTPUT_DIRECTORY SECRET PORT → JSON of what succeeded, by name.
LAYERS: `all`, or one of `landlock`, `seccomp`, `rlimits`, to see each layer hold by itself; `none` for none.
"""

import ctypes
import json
import mmap
import os
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from octavia_stream.media import wire
from octavia_stream.media.child import confinement, landlock, seccomp

LIMITS = wire.Limits(1 << 30, 20, 1 << 20, 3600, 64, 8192, 8192)
PTRACE_SEIZE = 0x4206
"""Attaches without stopping: a canary that succeeds must not freeze the test."""
HARMFUL = {"mount", "unshare", "ptrace"}
"""Not tried where nothing forbids it: root would succeed."""
libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    layers, source, output, secret, port = sys.argv[1:]
    attempts: dict[str, Callable[[], object]] = {
        "read_input": lambda: Path(source).read_bytes(),
        "write_output": lambda: Path(output, "result").write_bytes(b"x"),
        "read_sibling": lambda: Path(secret).read_bytes(),
        "read_passwd": lambda: Path("/etc/passwd").read_bytes(),
        "read_parent_environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        "list_directory": lambda: list(Path(secret).parent.iterdir()),
        "write_elsewhere": lambda: Path(secret).parent.joinpath("planted").write_bytes(b"x"),
        "connect": lambda: socket.create_connection(("127.0.0.1", int(port)), timeout=5),
        "socket": lambda: socket.socket(socket.AF_UNIX),
        "fork": fork,
        "execute": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606
        "ptrace": lambda: called(libc.ptrace(PTRACE_SEIZE, os.getppid(), None, None)),
        "signal_parent": lambda: os.kill(os.getppid(), 0),
        # Address space alone: where nothing forbids it, no memory is touched.
        "allocate_4_gib": lambda: mmap.mmap(-1, 4 << 30),
        "write_4_mib": lambda: Path(output, "large").write_bytes(bytes(4 << 20)),
        "raise_limits": lambda: resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)),
        "mount": lambda: called(libc.mount(b"none", output.encode(), b"tmpfs", 0, None)),
        "unshare": lambda: called(libc.unshare(0x10000000)),
    }
    confine(layers, source, output)
    if layers in {"none", "rlimits"}:
        attempts = {name: action for name, action in attempts.items() if name not in HARMFUL}
    # exec replaces this process when it succeeds, so it goes last.
    results = {name: attempt(action) for name, action in attempts.items() if name != "execute"}
    os.write(1, json.dumps(results).encode() + b"\n")
    os.write(1, json.dumps(attempt(attempts["execute"])).encode() + b"\n")
    os._exit(0)


def confine(layers: str, source: str, output: str) -> None:
    request = wire.Request(wire.ConfineRequest(), LIMITS, False, False, os.getppid(), source.encode(), output.encode())
    if layers == "all":
        confinement.confine(request)
        return
    libc.prctl(38, 1, 0, 0, 0)
    if layers == "landlock":
        landlock.restrict(libc, {source.encode(): landlock.READ, output.encode(): landlock.WRITE_BENEATH})
    elif layers == "seccomp":
        seccomp.restrict(libc)
    elif layers == "rlimits":
        confinement._limit_resources(LIMITS)


def attempt(action: Callable[[], object]) -> bool:
    try:
        action()
    except (OSError, MemoryError, ValueError):
        return False
    return True


def called(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")


def fork() -> None:
    if os.fork() == 0:
        os._exit(0)
    os.wait()


if __name__ == "__main__":
    main()
