"""Where WebRTC's UDP sockets are bound: the addresses and ports that a firewall lets through.

aioice binds every address of the machine but loopback, at any free port, and has no setting for either.
"""

import asyncio
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from aioice import Candidate
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import Connection, StunProtocol

from octavia_stream.errors import Overloaded

RECEIVE_BUFFER_BYTES = 1024 * 1024
LOOPBACK = "127.0.0.1"
MOST_TRIES = 200


@dataclass(frozen=True, slots=True)
class SocketRules:
    """As in the settings' section `live`."""

    host: str | None = None
    """Bind this address only; else all but loopback, and loopback when there is no other."""
    first_port: int = 0
    last_port: int = 0
    """0 and 0: any free port."""
    public_address: str | None = None
    """What clients are told instead of our own IPv4 addresses."""


def bind_by(rules: SocketRules, connection: Connection) -> None:
    """Let a connection that has not gathered its candidates yet bind as the rules say."""
    setattr(connection, "get_component_candidates", partial(_gather, rules, connection))  # noqa: B010  (a method)


def advertise(sdp: str, public_address: str | None) -> str:
    """Our answer, with the address that clients reach us at in place of those behind a router."""
    if public_address is None:
        return sdp
    return "\r\n".join(_advertised(line, public_address) for line in sdp.split("\r\n"))


def _advertised(line: str, public_address: str) -> str:
    words = line.split(" ")
    if not line.startswith("a=candidate:") or ":" in words[4]:
        return line
    return " ".join([*words[:4], public_address, *words[5:]])


async def _gather(
    rules: SocketRules, connection: Connection, component: int, addresses: list[str], timeout: int = 5
) -> list[Candidate]:
    """In place of aioice's: `timeout` is for servers that are asked, and none is."""
    candidates = []
    for address in [rules.host] if rules.host is not None else addresses or [LOOPBACK]:
        protocol = await _bind(rules, connection, address)
        if protocol is None:
            continue
        host, port = protocol.transport.get_extra_info("sockname")[:2]
        protocol.local_candidate = Candidate(
            foundation=candidate_foundation("host", "udp", host),
            component=component,
            transport="udp",
            priority=candidate_priority(component, "host"),
            host=host,
            port=port,
            type="host",
        )
        connection._protocols.append(protocol)
        candidates.append(protocol.local_candidate)
    if not candidates:
        raise Overloaded("No UDP port is free for another connection; try again later.")
    return candidates


async def _bind(rules: SocketRules, connection: Connection, address: str) -> StunProtocol | None:
    """A socket at this address, or None when no port of it can be had."""
    loop = asyncio.get_running_loop()
    for port in _ports(rules):
        try:
            transport, protocol = await loop.create_datagram_endpoint(
                partial(StunProtocol, connection), local_addr=(address, port)
            )
        except OSError:
            continue
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        return protocol
    return None


def _ports(rules: SocketRules) -> Iterator[int]:
    """Ports to try, in random order: the next one would often be the one that was closed a moment ago."""
    if rules.first_port == 0:
        yield 0
        return
    ports = range(rules.first_port, max(rules.last_port, rules.first_port) + 1)
    yield from random.sample(ports, min(len(ports), MOST_TRIES))
