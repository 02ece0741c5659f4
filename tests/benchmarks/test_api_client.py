"""The load of the api's benchmarks, against a server whose answers are known."""

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.api_client import Ask, Load, Requests, Upload, percentiles, run_requests, run_upload


class Server:
    """Answers every request with one status, and counts requests and the bytes of their bodies."""

    def __init__(self) -> None:
        self.status, self.requests, self.received, self.port = 200, 0, 0, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
                )
                self.received += len(await reader.readexactly(length))
                writer.write(f"HTTP/1.1 {self.status} So\r\ncontent-length: 2\r\n\r\n{{}}".encode())
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with listening:
        made.port = listening.sockets[0].getsockname()[1]
        yield made


async def test_each_is_asked_once_over_all_connections(server: Server) -> None:
    load = await run_requests(Requests(server.port, [Ask("POST", "/process", "token")] * 50, 4, None, 200))
    assert (load.count, server.requests) == (50, 50)
    assert load.latencies_ms[0] <= load.latencies_ms[1]


async def test_an_answer_that_was_not_expected_is_no_figure(server: Server) -> None:
    server.status = 503
    with pytest.raises(RuntimeError, match="503"):
        await run_requests(Requests(server.port, [Ask("GET", "/job")], 1, None, 200))


async def test_a_file_is_sent_whole(server: Server, tmp_path: Path) -> None:
    server.status = 201
    file = tmp_path / "file"
    file.write_bytes(b"x" * 700_000)
    load = await run_upload(Upload(server.port, Ask("POST", "/upload"), str(file)))
    assert load.count == server.received == 700_000


def test_a_rate_is_count_by_time_and_nothing_has_no_percentile() -> None:
    assert Load(10, 2.0).rate == 5.0
    assert all(math.isnan(value) for value in percentiles([]))
    assert percentiles([0.001] * 100) == pytest.approx((1.0, 1.0))
