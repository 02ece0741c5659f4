"""`python -m benchmarks.api_client`: load, in a process of its own; a task on stdin, figures on stdout.

HTTP is spoken over plain sockets: a client library would take more of the machine than the server that is measured.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from itertools import cycle
from pathlib import Path

import msgspec
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

UPLOAD_BLOCK_BYTES = 256 * 1024
CONNECT_AT_ONCE = 20
TRY_AGAIN = 1013
PAUSE_S = 1.0
"""Before a socket that was turned away is opened again."""


class Ask(msgspec.Struct, frozen=True):
    """One request without a body."""

    method: str
    path: str
    token: str = ""


class Requests(msgspec.Struct, frozen=True, tag="requests"):
    """Ask as often as possible over so many connections."""

    port: int
    asks: list[Ask]
    connections: int
    seconds: float | None
    """None: each once; else in turns for so long."""
    status: int


class Upload(msgspec.Struct, frozen=True, tag="upload"):
    """Send a file."""

    port: int
    ask: Ask
    file: str


class Watch(msgspec.Struct, frozen=True, tag="watch"):
    """Listen to many sockets for a while."""

    port: int
    asks: list[Ask]
    seconds: float


Task = Requests | Upload | Watch


class Load(msgspec.Struct, frozen=True):
    """What came of it."""

    count: int
    seconds: float
    latencies_ms: tuple[float, float] = (0.0, 0.0)
    """Middle and 99th percentile."""

    @property
    def rate(self) -> float:
        return self.count / self.seconds if self.seconds > 0 else 0.0


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """Middle and 99th percentile, in milliseconds."""
    if not seconds:
        return (float("nan"), float("nan"))
    middle, high = np.percentile(seconds, [50, 99])
    return float(middle) * 1000, float(high) * 1000


def head(ask: Ask, extra: str = "") -> bytes:
    """A request's head."""
    token = f"Authorization: Bearer {ask.token}\r\n" if ask.token else ""
    return f"{ask.method} {ask.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}{extra}\r\n".encode()


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """To a server on this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def answer(reader: asyncio.StreamReader) -> int:
    """The status of the next answer, whose body is read and dropped."""
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.lower().startswith(b"content-length:"))
    await reader.readexactly(length)
    return int(lines[0].split()[1])


async def run_requests(task: Requests) -> Load:
    """Raises RuntimeError for an answer that was not expected."""
    asks: Iterator[Ask] = iter(task.asks) if task.seconds is None else cycle(task.asks)
    end = time.monotonic() + task.seconds if task.seconds is not None else float("inf")
    took: list[float] = []

    async def one_connection() -> None:
        async with connection(task.port) as (reader, writer):
            for ask in asks:
                started_at = time.monotonic()
                if started_at > end:
                    break
                writer.write(head(ask, "" if ask.method == "GET" else "Content-Length: 0\r\n"))
                status = await answer(reader)
                if status != task.status:
                    raise RuntimeError(f"{ask.method} {ask.path} was answered {status}")
                took.append(time.monotonic() - started_at)

    started_at = time.monotonic()
    await asyncio.gather(*(one_connection() for _ in range(task.connections)))
    return Load(len(took), time.monotonic() - started_at, percentiles(took))


async def run_upload(task: Upload) -> Load:
    """Bytes, and from the first of them to the answer. Raises RuntimeError for a refusal."""
    # Nothing else runs in this process that reading a file could keep waiting.
    size = Path(task.file).stat().st_size  # noqa: ASYNC240
    async with connection(task.port) as (reader, writer):
        started_at = time.monotonic()
        writer.write(head(task.ask, f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n"))
        with Path(task.file).open("rb") as file:  # noqa: ASYNC230
            while block := file.read(UPLOAD_BLOCK_BYTES):
                writer.write(block)
                await writer.drain()
        status = await answer(reader)
        took_s = time.monotonic() - started_at
    if status != 201:
        raise RuntimeError(f"the upload was answered {status}")
    return Load(size, took_s)


async def opened_socket(port: int, ask: Ask) -> ClientConnection:
    """A socket that has told its first event; a server that says "later" is asked again, as it wishes."""
    headers = {"Authorization": f"Bearer {ask.token}"} if ask.token else {}
    while True:
        socket = await connect(
            f"ws://127.0.0.1:{port}{ask.path}",
            additional_headers=headers,
            compression=None,
            ping_interval=None,
            open_timeout=120,
        )
        if not ask.token:
            return socket
        try:
            await socket.recv()
        except ConnectionClosed:
            if socket.close_code != TRY_AGAIN:
                raise
            await asyncio.sleep(PAUSE_S)
            continue
        return socket


async def run_watch(task: Watch) -> Load:
    """How long each event took from the moment it names to a client."""
    took: list[float] = []
    gate = asyncio.Semaphore(CONNECT_AT_ONCE)
    opened = asyncio.Barrier(len(task.asks) + 1)

    async def one_socket(ask: Ask) -> None:
        async with gate:
            socket = await opened_socket(task.port, ask)
        async with socket:
            await opened.wait()
            try:
                while True:
                    record = msgspec.json.decode(await socket.recv())
                    if watching.is_set():
                        took.append(time.time() - _moment(record["at"]))
            except asyncio.CancelledError:
                socket.transport.abort()
                raise

    watching = asyncio.Event()
    sockets = [asyncio.create_task(one_socket(ask)) for ask in task.asks]
    await asyncio.wait({asyncio.create_task(opened.wait()), *sockets}, return_when=asyncio.FIRST_COMPLETED)
    _raise_first(sockets)
    # The parent begins to make events when it reads this.
    print("ready", flush=True)
    watching.set()
    await asyncio.sleep(task.seconds)
    watching.clear()
    for socket in sockets:
        socket.cancel()
    await asyncio.gather(*sockets, return_exceptions=True)
    return Load(len(took), task.seconds, percentiles(took))


def _moment(at: str | float) -> float:
    return at if isinstance(at, (int, float)) else datetime.fromisoformat(at).timestamp()


def _raise_first(tasks: "list[asyncio.Task[None]]") -> None:
    for task in tasks:
        if task.done() and (error := task.exception()) is not None:
            raise error


async def run(task: Task) -> Load:
    """Do it."""
    match task:
        case Requests():
            return await run_requests(task)
        case Upload():
            return await run_upload(task)
        case Watch():
            return await run_watch(task)


def main() -> None:
    """One task."""
    task: Task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    print(msgspec.json.encode(asyncio.run(run(task))).decode(), flush=True)


if __name__ == "__main__":
    main()
