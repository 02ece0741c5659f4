"""A UDP relay between two peers that loses, doubles and delays datagrams."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any


class LossyRelay:
    """Stands before one server address; each client that knocks gets a socket of its own towards the server."""

    def __init__(self, server: tuple[str, int], seed: int = 1) -> None:
        self.loss = 0.0
        """Share of datagrams, each way, that are lost."""
        self.doubled = 0.0
        self.reordered = 0.0
        """Share that come 30 ms later."""
        self.lost = 0
        self._server = server
        self._chance = random.Random(seed)  # noqa: S311
        self._front: asyncio.DatagramTransport | None = None
        self._backs: dict[tuple[str, int], asyncio.DatagramTransport] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str) -> int:
        """Returns the port at which clients knock."""
        loop = asyncio.get_running_loop()
        self._front, _ = await loop.create_datagram_endpoint(lambda: _End(self._from_client), local_addr=(host, 0))
        return int(self._front.get_extra_info("sockname")[1])

    async def close(self) -> None:
        """Both sides."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for transport in (self._front, *self._backs.values()):
            if transport is not None:
                transport.close()

    def _from_client(self, data: bytes, client: tuple[str, int]) -> None:
        if client in self._backs:
            self._pass(lambda: self._backs[client].sendto(data))
        else:
            self._own(self._open(client, data))

    async def _open(self, client: tuple[str, int], first: bytes) -> None:
        loop = asyncio.get_running_loop()

        def back(data: bytes, _: tuple[str, int]) -> None:
            self._pass(lambda: self._front.sendto(data, client) if self._front else None)

        transport, _ = await loop.create_datagram_endpoint(lambda: _End(back), remote_addr=self._server)
        self._backs.setdefault(client, transport).sendto(first)

    def _pass(self, send: Callable[[], None]) -> None:
        if self._chance.random() < self.loss:
            self.lost += 1
            return
        for _ in range(2 if self._chance.random() < self.doubled else 1):
            if self._chance.random() < self.reordered:
                asyncio.get_running_loop().call_later(0.03, send)
            else:
                send()

    def _own(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _End(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._received(data, addr)


def through(answer: str, host: str, port: int) -> str:
    """An answer whose only candidate is the relay's address."""
    lines = []
    for line in answer.split("\r\n"):
        if line.startswith("a=candidate:"):
            words = line.split(" ")
            if words[4] != host:
                continue
            words[5] = str(port)
            lines.append(" ".join(words))
        else:
            lines.append(line)
    return "\r\n".join(lines)


def first_address(answer: str) -> tuple[str, int]:
    """Of an answer's candidates of IPv4."""
    for line in answer.split("\r\n"):
        words = line.split(" ")
        if line.startswith("a=candidate:") and ":" not in words[4]:
            return words[4], int(words[5])
    raise AssertionError("no candidate")
