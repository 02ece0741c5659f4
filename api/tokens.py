"""Access tokens: signed, short-lived, and checked against a fixed list of claims.

HS256 alone is accepted, whatever a token's header says (RFC 8725, section 3.1).
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import jwt

from api.identity import Identity
from octavia_stream.errors import InvalidRequest, Unauthorized

ALGORITHM = "HS256"
ISSUER = "octavia-stream"
AUDIENCE = "octavia-stream-api"
CLAIMS = ["exp", "iss", "aud", "jti", "sub", "sid", "iat"]
MIN_KEY_BYTES = 32
"""256 bit, the size of the hash (RFC 7518, section 3.2)."""


class AccessTokens:
    """Issues and verifies the tokens of one server."""

    def __init__(self, key: bytes, lifetime: timedelta) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise InvalidRequest(f"OCTAVIA_SECRET_KEY is too short; use at least {MIN_KEY_BYTES} random bytes.")
        self._key = key
        self.lifetime = lifetime

    def issue(self, user_id: UUID, log_in_id: UUID) -> str:
        """A token that says its bearer is this user, by this log-in."""
        now = datetime.now(UTC)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(log_in_id),
            "jti": str(uuid4()),
            "iat": now,
            "exp": now + self.lifetime,
        }
        return jwt.encode(claims, self._key, ALGORITHM)

    def verify(self, token: str) -> Identity:
        """Whose token it is. Whether the log-in goes on is another question. Raises Unauthorized."""
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={"require": CLAIMS},
            )
            return Identity(UUID(claims["sub"]), UUID(claims["sid"]))
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError) as error:
            raise Unauthorized("The token is not valid or has expired; log in again.") from error
