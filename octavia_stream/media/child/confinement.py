"""What the child takes from itself before it touches a user's file. Nothing here can be undone."""

import ctypes
import os
import resource
import signal
import struct
import sys

from octavia_stream.errors import DependencyUnavailable
from octavia_stream.media import wire
from octavia_stream.media.child import landlock, seccomp

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY_TRIED = 63


def confine(request: wire.Request) -> tuple[str, ...]:
    """Take away everything but the source, the output directory, memory and time. Returns the layers that hold.

    Raises DependencyUnavailable when settings ask for a jail that this machine cannot give.
    """
    layers = ["bubblewrap"] if request.inside_bubblewrap else []
    _limit_resources(request.limits)
    if sys.platform == "linux":
        layers += _confine_by_kernel(request)
    layers.append("rlimits")
    others_out_of_reach = bool({"bubblewrap", "landlock"} & set(layers))
    network_out_of_reach = bool({"bubblewrap", "seccomp"} & set(layers))
    if request.require_jail and not (others_out_of_reach and network_out_of_reach):
        raise DependencyUnavailable(
            "This server may open media only in a jail, and has neither bubblewrap nor Landlock with seccomp."
        )
    return tuple(layers)


def _confine_by_kernel(request: wire.Request) -> list[str]:
    libc = ctypes.CDLL(None, use_errno=True)
    if not request.inside_bubblewrap:
        # Inside, --die-with-parent does this, and the parent has another number.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != request.parent_pid:
            os._exit(1)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    layers = []
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        layers.append("no_new_privs")
    if _drop_capabilities(libc):
        layers.append("no capabilities")
    if landlock.restrict(libc, _allowed_files(request)):
        layers.insert(0, "landlock")
    if seccomp.restrict(libc):
        layers.insert(1 if "landlock" in layers else 0, "seccomp")
    return layers


def _allowed_files(request: wire.Request) -> dict[bytes, landlock.Access]:
    # FFmpeg seeds the identifiers of Matroska tracks from here.
    allowed = {b"/dev/urandom": landlock.READ}
    if request.source:
        allowed[request.source] = landlock.READ
    if request.earlier:
        allowed[request.earlier] = landlock.READ
    if request.output_directory:
        allowed[request.output_directory] = landlock.WRITE_BENEATH
    return allowed


def _limit_resources(limits: wire.Limits) -> None:
    # The soft limit of processor time kills with SIGXCPU, which the parent can tell from any other death.
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Neither decoding nor copying needs a thread; FFmpeg's filters do without when they get none.
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))


def _drop_capabilities(libc: ctypes.CDLL) -> bool:
    """Root keeps its name but not its powers."""
    for capability in range(_LAST_CAPABILITY_TRIED + 1):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    number = _CAPSET.get(os.uname().machine)
    if number is None:
        return False
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    nothing = struct.pack("<6I", 0, 0, 0, 0, 0, 0)
    return bool(libc.syscall(number, header, nothing) == 0)
