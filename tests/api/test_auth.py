"""Signing up, logging in, and what a token opens."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from api.tokens import AUDIENCE, ISSUER, AccessTokens
from octavia_stream.config import Settings
from octavia_stream.runtime import load_secret
from tests.api.conftest import PASSWORD, Person

pytestmark = pytest.mark.services


async def test_who_logs_in_is_who_signed_up(anyone: httpx.AsyncClient, alice: Person) -> None:
    answer = await anyone.post("/api/v1/auth/log-in", json={"email": alice.email.upper(), "password": PASSWORD})
    assert answer.status_code == 200
    access = answer.json()
    assert (access["token_type"], access["expires_in"]) == ("Bearer", 900)
    assert access["account"]["id"] == str(alice.id)
    me = await anyone.get("/api/v1/auth/me", headers={"Authorization": f"bearer {access['access_token']}"})
    assert me.json() == access["account"]
    assert "password" not in me.text


async def test_an_address_has_one_account(anyone: httpx.AsyncClient, alice: Person) -> None:
    answer = await anyone.post("/api/v1/auth/sign-up", json={"email": alice.email, "password": PASSWORD})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_a_wrong_password_and_an_unknown_address_look_the_same(anyone: httpx.AsyncClient, alice: Person) -> None:
    answers = [
        await anyone.post("/api/v1/auth/log-in", json={"email": email, "password": "wrong" * 4})
        for email in (alice.email, "nobody@example.org")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"email": "nobody"},
        {"email": "no body@example.org", "password": PASSWORD},
        {"email": "a\x00b@example.org", "password": PASSWORD},
        {"email": "someone@example.org", "password": "short"},
        {"email": "someone@example.org", "password": "x" * 257},
        {"email": "someone@example.org", "password": PASSWORD, "admin": True},
        {"email": f"{'x' * 300}@example.org", "password": PASSWORD},
        {"email": 7, "password": PASSWORD},
    ],
)
async def test_credentials_of_another_shape_are_refused(anyone: httpx.AsyncClient, credentials: Any) -> None:
    answer = await anyone.post("/api/v1/auth/sign-up", json=credentials)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("header", ["", "Bearer", "Basic YTpi", "Bearer a.b.c", "bearer\tx", "Token x"])
async def test_a_header_that_is_no_token_is_401(anyone: httpx.AsyncClient, header: str) -> None:
    answer = await anyone.get("/api/v1/auth/me", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_only_a_fresh_token_of_this_server_opens(
    anyone: httpx.AsyncClient, alice: Person, settings: Settings
) -> None:
    key = load_secret(settings).get_secret_value().encode()
    now = datetime.now(UTC)
    session = (await alice.http.get("/api/v1/auth/sessions")).json()["sessions"][0]["id"]
    good = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": str(alice.id), "sid": session, "jti": str(uuid4()), "iat": now,
        "exp": now + timedelta(minutes=5),
    }  # fmt: skip

    async def status(token: str) -> int:
        return (await anyone.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})).status_code

    assert await status(jwt.encode(good, key, "HS256")) == 200
    assert await status(jwt.encode({**good, "sid": str(uuid4())}, key, "HS256")) == 401
    assert await status(jwt.encode({**good, "sub": str(uuid4()), "sid": str(uuid4())}, key, "HS256")) == 401
    assert await status(jwt.encode({**good, "exp": now - timedelta(seconds=1)}, key, "HS256")) == 401
    assert await status(jwt.encode({**good, "aud": "other"}, key, "HS256")) == 401
    assert await status(jwt.encode(good, b"another key of thirty-two bytes!", "HS256")) == 401


async def test_the_token_of_an_account_that_is_gone_is_401(anyone: httpx.AsyncClient, settings: Settings) -> None:
    tokens = AccessTokens(load_secret(settings).get_secret_value().encode(), timedelta(minutes=5))
    answer = await anyone.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {tokens.issue(uuid4(), uuid4())}"})
    assert answer.status_code == 401
