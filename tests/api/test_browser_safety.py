"""What browsers are told and refused: other sites' pages, frames, cookies, and bodies that are too large."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import ValidationError
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.app import MAX_JSON_BYTES, create_app
from octavia_stream.config import ApiSettings, Settings
from tests.api.conftest import Person, serving
from tests.api.test_isolation import METHODS, filled

pytestmark = pytest.mark.services

PAGE = "https://app.example.org"
STRANGER = "https://evil.example.org"


@asynccontextmanager
async def server(settings: Settings, **api: Any) -> AsyncIterator[httpx.AsyncClient]:
    changed = settings.model_copy(update={"api": settings.api.model_copy(update=api)})
    async with serving(create_app(changed), changed) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client


def preflight(origin: str) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
    }


async def test_pages_of_other_sites_are_told_nothing_until_they_are_let_in(anyone: httpx.AsyncClient) -> None:
    for method, headers in (("GET", {"Origin": PAGE}), ("OPTIONS", preflight(PAGE))):
        answer = await anyone.request(method, "/api/v1/languages", headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_pages_that_are_let_in_can_use_the_api_and_others_cannot(settings: Settings, alice: Person) -> None:
    async with server(settings, cors_origins=(PAGE,)) as client:
        allowed = await client.options("/api/v1/jobs/video-translate/create", headers=preflight(PAGE))
        assert allowed.status_code == 204
        assert allowed.headers["Access-Control-Allow-Origin"] == PAGE
        assert "authorization" in allowed.headers["Access-Control-Allow-Headers"].lower()
        # Errors can be read too.
        for path, token, status in (("/api/v1/auth/me", alice.token, 200), ("/api/v1/jobs", "none", 401)):
            headers = {"Origin": PAGE, "Authorization": f"Bearer {token}"}
            answer = await client.get(path, headers=headers)
            assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, PAGE)
            assert "RateLimit" in answer.headers["Access-Control-Expose-Headers"]
            assert "Access-Control-Allow-Credentials" not in answer.headers
        refused = await client.options("/api/v1/jobs/video-translate/create", headers=preflight(STRANGER))
        assert refused.headers.get("Access-Control-Allow-Origin") != STRANGER
        answer = await client.get("/api/v1/auth/me", headers={"Origin": STRANGER})
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_sockets_of_pages_that_are_let_in_open_and_of_others_do_not(settings: Settings, alice: Person) -> None:
    async with server(settings, cors_origins=(PAGE,)) as client:
        url = f"{str(client.base_url).replace('http', 'ws', 1)}/api/v1/jobs/{uuid4()}/events"
        token = {"Authorization": f"Bearer {alice.token}"}
        async with connect(url, additional_headers={**token, "Origin": PAGE}) as socket:
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 4404
        with pytest.raises(InvalidStatus):
            async with connect(url, additional_headers={**token, "Origin": STRANGER}):
                pass


@pytest.mark.parametrize(
    "origin", ["*", "https://app.example.org/", "app.example.org", "https://*.example.org", "null"]
)
def test_an_origin_is_one_site(origin: str) -> None:
    with pytest.raises(ValidationError):
        ApiSettings(cors_origins=(origin,))


async def test_every_answer_carries_the_headers_that_keep_browsers_safe(anyone: httpx.AsyncClient) -> None:
    for path in ("/livez", "/api/v1/languages", "/api/v1/jobs", "/nowhere", "/schema/openapi.json"):
        headers = (await anyone.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'", path
        assert headers["X-Frame-Options"] == "DENY", path
        assert headers["Referrer-Policy"] == "no-referrer", path
        assert "Server" not in headers, path
        assert "Strict-Transport-Security" not in headers, path


async def test_over_tls_browsers_are_told_to_stay_there_by_a_proxy_that_is_believed_alone(settings: Settings) -> None:
    over_tls = {"X-Forwarded-Proto": "https"}
    async with server(settings, trusted_proxies=("127.0.0.1",)) as client:
        answer = await client.get("/livez", headers=over_tls)
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert "Strict-Transport-Security" not in (await client.get("/livez")).headers
    async with server(settings) as client:
        assert "Strict-Transport-Security" not in (await client.get("/livez", headers=over_tls)).headers


async def test_there_are_no_cookies_so_that_nothing_can_be_forged(alice: Person, anyone: httpx.AsyncClient) -> None:
    body = {"email": alice.email, "password": "correct horse battery"}
    answers = [
        await anyone.post("/api/v1/auth/log-in", json=body),
        await alice.http.get("/api/v1/auth/me"),
        await alice.http.post("/api/v1/auth/ticket"),
    ]
    assert all(answer.status_code < 300 for answer in answers)
    assert not [answer for answer in answers if "Set-Cookie" in answer.headers]
    tokens = answers[0].json()
    for name in ("access_token", "token", "session", "Authorization", "refresh_token"):
        cookies = {"Cookie": f"{name}={tokens['access_token']}"}
        assert (await anyone.get("/api/v1/auth/me", headers=cookies)).status_code == 401
        assert (await anyone.post("/api/v1/auth/log-out", headers=cookies)).status_code == 401


async def test_no_route_takes_a_json_body_without_a_bound(alice: Person) -> None:
    document = (await alice.http.get("/schema/openapi.json")).json()
    found = [
        (method, path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS and "application/json" in operation.get("requestBody", {}).get("content", {})
    ]
    assert len(found) >= 10
    body = b'{"x": "' + b"x" * (2 * MAX_JSON_BYTES) + b'"}'
    for method, path in found:
        headers = {"Content-Type": "application/json"}
        answer = await alice.http.request(method, filled(path), content=body, headers=headers)
        assert answer.status_code == 413 or 400 <= answer.status_code < 500, (method, path, answer.text)
