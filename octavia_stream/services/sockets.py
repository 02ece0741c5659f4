"""Where servers put their sockets: below home, or in a short place of our own when home's path is too long."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from octavia_stream.errors import DependencyUnavailable

_LONGEST = 100
"""Bytes of a socket's path: sockaddr_un holds 108 on Linux and 104 elsewhere, with the final zero."""
_ROOM = len("/postgres/.s.PGSQL.5432")


def socket_directory(home: Path) -> Path:
    """The same directory for the same home, made if need be; others may pass through it but not look or write."""
    directory = home / "run"
    if len(os.fsencode(directory)) + _ROOM > _LONGEST:
        name = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
        directory = Path(tempfile.gettempdir()) / f"octavia-{os.geteuid()}-{name}"
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise DependencyUnavailable("The directory for sockets belongs to somebody else; set OCTAVIA_HOME anew.")
    directory.chmod(0o711)
    return directory
