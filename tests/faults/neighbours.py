"""Who the server talks to: addresses that webhooks go to, and a mail server. They live on when the server dies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import Message

from aiosmtpd.smtp import SMTP, Envelope, Session

GONE = "/gone/"
"""Addresses below this one answer that they are gone."""


class Hooked:
    """Addresses on this machine that keep what they are told."""

    def __init__(self) -> None:
        self.url = ""
        self._told: list[tuple[str, str]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name}
            await reader.readexactly(int(headers["content-length"]))
            path = head[0].split()[1]
            self._told.append((path, headers["webhook-id"]))
            writer.write(f"HTTP/1.1 {410 if path.startswith(GONE) else 200} So\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # who asked was killed
        finally:
            writer.close()

    def told(self, path: str) -> list[str]:
        """The ids of the messages that came to this path, in the order in which they came."""
        return [message for where, message in self._told if where == path]


class Post:
    """A mail server."""

    def __init__(self) -> None:
        self.port = 0
        self._letters: list[tuple[list[str], Message]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self._letters.append((envelope.rcpt_tos, message_from_bytes(envelope.content or b"")))  # type: ignore[arg-type]
        return "250 taken"

    def letters_to(self, email: str) -> list[str]:
        """The ids of the letters that came for somebody."""
        return [letter["Message-ID"] for to, letter in self._letters if to == [email]]


@asynccontextmanager
async def hooked() -> AsyncIterator[Hooked]:
    """Addresses for webhooks."""
    made = Hooked()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield made


@asynccontextmanager
async def post_office() -> AsyncIterator[Post]:
    """A mail server at work."""
    made = Post()
    smtp = await asyncio.get_running_loop().create_server(lambda: SMTP(made), "127.0.0.1", 0)
    made.port = smtp.sockets[0].getsockname()[1]
    yield made
    smtp.close()
    await smtp.wait_closed()
