"""Signatures of Standard Webhooks (https://www.standardwebhooks.com, symmetric, v1)."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from uuid import UUID

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """A fresh secret, as both sides write it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def message_name(message_id: UUID) -> str:
    """How a message is called on the wire; the same however often it is sent."""
    return f"msg_{message_id.hex}"


def signed_headers(keys: Iterable[str], message_id: UUID, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers. keys: secrets, each of which signs; timestamp: seconds since 1970."""
    name = message_name(message_id)
    content = f"{name}.{timestamp}.".encode() + body
    return {
        "webhook-id": name,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_sign(key, content)}" for key in keys),
    }


def _sign(key: str, content: bytes) -> str:
    raw = base64.b64decode(key.removeprefix(PREFIX))
    return base64.b64encode(hmac.new(raw, content, hashlib.sha256).digest()).decode()
