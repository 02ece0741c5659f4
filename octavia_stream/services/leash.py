"""Become another program that is told to stop when its parent dies.

Run as a script: `leash.py PARENT_PID SIGNAL UID GID PROGRAM ARGUMENT…`; UID and GID of -1 keep the own ones.
It stands between fork and exec, so it uses the standard library alone.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> None:
    """Never returns."""
    parent, signal, uid, gid = (int(argument) for argument in arguments[:4])
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After setuid, which clears it. A parent that died before this line is noticed by the next.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal)
    if os.getppid() != parent:
        sys.exit("the parent is gone")
    os.execv(arguments[4], arguments[4:])  # noqa: S606  (that is the purpose)


if __name__ == "__main__":
    main(sys.argv[1:])
