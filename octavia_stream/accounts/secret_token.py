"""Secrets that are shown once and remembered by their hash."""

import hashlib
import secrets

TOKEN_BYTES = 32
"""256 bits from the system's generator: not to be guessed, so a fast hash is enough."""


def new_token(prefix: str) -> str:
    """A secret that says by its first letters what it is, for people and for scanners of leaked secrets."""
    return prefix + secrets.token_urlsafe(TOKEN_BYTES)


def token_hash(token: str) -> bytes:
    """What is kept of it: SHA-256, 32 bytes."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
