"""`python -m benchmarks.bare_app PORT DIRECTORY`: the bare framework, answering in the shapes of the api.

What the api takes beyond this is ours: who asks, whether they may, the database, the ledger, the object store.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from litestar import Litestar, Request, WebSocket, get, post, websocket

EVENT_S = 1.0


class Answer(msgspec.Struct):
    """As large as a job's, and encoded anew each time."""

    content: dict[str, Any]


def create_app(directory: Path) -> Litestar:
    """directory: holds the answer to give, and takes uploads."""
    answer = Answer(msgspec.json.decode((directory / "bare-answer.json").read_bytes()))

    @get("/job")
    async def read() -> Answer:
        return answer

    @post("/process", status_code=202)
    async def submit() -> Answer:
        return answer

    @post("/upload", request_max_body_size=None)
    async def upload(request: Request[Any, Any, Any]) -> dict[str, int]:
        size = 0
        with (directory / "bare-upload").open("wb") as file:
            async for chunk in request.stream():
                await asyncio.to_thread(file.write, chunk)
                size += len(chunk)
        return {"size": size}

    @websocket("/events")
    async def watch(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        while True:
            # All clients at once, as one event of a job that all of them watch.
            await asyncio.sleep(EVENT_S - time.time() % EVENT_S)
            await socket.send_text(msgspec.json.encode({"at": time.time(), "event": {"type": "progress"}}).decode())

    return Litestar([read, submit, upload, watch], openapi_config=None, logging_config=None)


def main() -> None:
    """Serve until terminated."""
    port, directory = int(sys.argv[1]), Path(sys.argv[2])
    uvicorn.run(create_app(directory), host="127.0.0.1", port=port, log_config=None, access_log=False)


if __name__ == "__main__":
    main()
