"""What a short link says, and the signature that makes it true."""

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import msgspec

from octavia_stream.errors import Forbidden, NotFound

_SIGNATURE_BYTES = 16
_PURPOSE = b"octavia-stream link"


class Opens(msgspec.Struct, frozen=True, array_like=True):
    """What is signed."""

    kind: Literal["job", "upload"]
    owner_id: UUID
    its_id: UUID
    until: int
    """In seconds since 1970."""
    inline: bool
    artifact: str | None = None


class Links:
    """Makes links and reads them."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.new(secret, _PURPOSE, hashlib.sha256).digest()

    def seal(self, opens: Opens) -> str:
        """The token that says so."""
        said = msgspec.msgpack.encode(opens)
        return base64.urlsafe_b64encode(said + self._signature(said)).decode().rstrip("=")

    def unseal(self, token: str) -> Opens:
        """What it opens. Raises NotFound when it was not made here, Forbidden when its time is over."""
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError) as error:
            raise _no_such_link() from error
        said, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
        # A token that ends in other unused bits is another token.
        canonical = base64.urlsafe_b64encode(raw).decode().rstrip("=") == token
        if not canonical or not hmac.compare_digest(signature, self._signature(said)):
            raise _no_such_link()
        opens = msgspec.msgpack.decode(said, type=Opens)
        if opens.until <= datetime.now(UTC).timestamp():
            raise Forbidden("The link has expired; ask for a new one.")
        return opens

    def _signature(self, said: bytes) -> bytes:
        return hmac.new(self._key, said, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


def _no_such_link() -> NotFound:
    return NotFound("There is no such link; it may have been copied incompletely.")
