"""The processes of one server, found among this process's own descendants and nowhere else."""

import ctypes
import os
import time
from collections.abc import Callable

import psutil

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

SIGNS = {
    "api": "api.main",
    "deploy": "deployments.deploy",
    "ray": "launcher/keeper.py",
    "gcs": "gcs/gcs_server",
    "raylet": "raylet/raylet",
    "controller": "ServeController",
    "worker": ":JobWorker",
    "asr": "octavia:Asr",
    "mt": "octavia:Mt",
    "tts": "octavia:Tts",
    "postgres": "bin/postgres -D",
    "postgres backend": "postgres: octavia",
    "valkey": "valkey-server",
    "jail": "octavia_stream.media.child",
    "launcher": "octavia serve",
}
"""What the command line of each part holds; `#` stands where Ray has not yet said that a replica is ready."""
POLL_S = 0.02


def adopt_orphans() -> None:
    """From now on, whoever loses its parent becomes a child of this process: nobody can slip out of sight."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def find(part: str) -> list[psutil.Process]:
    """The living processes of a part."""
    sign = SIGNS[part]
    return [process for process in _descendants() if sign in title(process).replace("octavia#", "octavia:")]


def wait_for(part: str, seconds: float, wanted: Callable[[], bool] = lambda: True) -> psutil.Process | None:
    """The newest process of a part, as soon as there is one; None when none appears in time."""
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at and wanted():
        found = find(part)
        if found:
            return found[-1]
        time.sleep(POLL_S)
    return None


def strays(*known: int) -> list[psutil.Process]:
    """Children of this process that it did not start: they outlived the server that did."""
    reap(*known)
    mine = psutil.Process().children()
    return [process for process in mine if process.pid not in known and _lives(process)]


def reap(*known: int) -> None:
    """Let go of dead orphans, as the machine's first process would."""
    for process in psutil.Process().children():
        if process.pid not in known and not _lives(process):
            try:
                os.waitpid(process.pid, os.WNOHANG)
            except ChildProcessError:
                continue


def title(process: psutil.Process) -> str:
    """Its command line, empty when it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _descendants() -> list[psutil.Process]:
    return [process for process in psutil.Process().children(recursive=True) if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
