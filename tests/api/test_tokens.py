"""Access tokens: only our own, whole and fresh, are good."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from api.identity import Identity
from api.tokens import ALGORITHM, AUDIENCE, CLAIMS, ISSUER, AccessTokens
from octavia_stream.errors import InvalidRequest, Unauthorized

KEY = b"k" * 32
USER = UUID("01970000-0000-7000-8000-000000000001")
LOG_IN = UUID("01970000-0000-7000-8000-000000000002")


def claims(**changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(USER),
        "sid": str(LOG_IN),
        "jti": str(uuid4()),
        "iat": now,
        "exp": now + timedelta(hours=1),
    }
    return {**good, **changes}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in claims().items() if key != name}


def unsigned() -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part({**claims(iat=0, exp=9999999999)})}."


def tampered() -> str:
    head, _, signature = jwt.encode(claims(), KEY, ALGORITHM).split(".")
    other = jwt.encode(claims(sub=str(uuid4())), b"o" * 32, ALGORITHM).split(".")[1]
    return f"{head}.{other}.{signature}"


BAD_TOKENS = {
    "empty": "",
    "garbage": "a.b.c",
    "alg none": unsigned(),
    "tampered": tampered(),
    "other key": jwt.encode(claims(), b"o" * 32, ALGORITHM),
    "other algorithm": jwt.encode(claims(), b"k" * 64, "HS512"),
    "expired": jwt.encode(claims(exp=datetime.now(UTC) - timedelta(seconds=1)), KEY, ALGORITHM),
    "not yet valid": jwt.encode(claims(nbf=datetime.now(UTC) + timedelta(hours=1)), KEY, ALGORITHM),
    "issued in the future": jwt.encode(claims(iat=datetime.now(UTC) + timedelta(hours=1)), KEY, ALGORITHM),
    "wrong issuer": jwt.encode(claims(iss="someone"), KEY, ALGORITHM),
    "wrong audience": jwt.encode(claims(aud="something"), KEY, ALGORITHM),
    "log-in is no id": jwt.encode(claims(sid=7), KEY, ALGORITHM),
    "subject is no id": jwt.encode(claims(sub="root"), KEY, ALGORITHM),
    **{f"without {name}": jwt.encode(without(name), KEY, ALGORITHM) for name in CLAIMS},
}


@pytest.fixture
def tokens() -> AccessTokens:
    return AccessTokens(KEY, timedelta(hours=1))


def test_a_token_says_who_bears_it(tokens: AccessTokens) -> None:
    assert tokens.verify(tokens.issue(USER, LOG_IN)) == Identity(USER, LOG_IN)


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_a_bad_token_is_refused(tokens: AccessTokens, token: str) -> None:
    with pytest.raises(Unauthorized):
        tokens.verify(token)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        AccessTokens(b"k" * 31, timedelta(hours=1))
