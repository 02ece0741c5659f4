"""Run a program and, when it or we are told to end, kill everything it started.

Run as a script: `keeper.py PROGRAM ARGUMENT…`, as the leader of a session. Ray's agents notice that their
raylet is gone and then wait for minutes to tell a control service that is gone as well; a launcher that
was killed cannot clean up after itself. It stays small: the standard library alone.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

LEASH = Path(__file__).parents[1] / "services" / "leash.py"
SWEEPS = 20
SWEEP_PAUSE_S = 0.1


def main(arguments: list[str]) -> int:
    """The program's exit code, or 128 + 15 when told to end."""
    signal.signal(signal.SIGTERM, _end)
    try:
        # The leash is for the case that this process is killed without a chance to clean up.
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(signal.SIGKILL)), "-1", "-1"]
        return subprocess.call([*leash, *arguments])  # noqa: S603
    finally:
        sweep(os.getsid(0))


def sweep(session: int) -> None:
    """Kill every other process of a session, until there is none."""
    for _ in range(SWEEPS):
        members = [pid for pid in _pids() if pid != os.getpid() and _session(pid) == session]
        if not members:
            return
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(SWEEP_PAUSE_S)


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]


def _session(pid: int) -> int | None:
    try:
        # State and session are the third and the sixth field; the second, the name, may hold spaces.
        state, _parent, _group, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except (OSError, ValueError):
        return None
    return None if state == "Z" else int(session)


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
