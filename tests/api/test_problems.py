"""Whatever goes wrong, the answer is a problem (RFC 9457) that says nothing of the inside."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import Litestar, get

from api.app import create_app
from api.errors import STATUS, TYPE_PREFIX, problem_of
from octavia_stream import errors
from octavia_stream.config import Settings
from tests.api.conftest import Person, serving

pytestmark = pytest.mark.services

MEMBERS = {"type", "title", "status", "detail", "instance", "code"}


def check(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem.keys() >= MEMBERS
    assert (problem["status"], problem["code"], problem["type"]) == (status, code, TYPE_PREFIX + code)
    assert problem["instance"] == answer.request.url.path
    return problem


async def test_an_unknown_path_is_404(anyone: httpx.AsyncClient) -> None:
    for path in ("/", "/nothing", "/api/v1/jobs/not-an-id", "/api/v1/../etc/passwd", "/%00"):
        check(await anyone.get(path), 404, "not_found")


async def test_a_wrong_method_is_405_and_says_which_are_right(anyone: httpx.AsyncClient, alice: Person) -> None:
    answer = await alice.http.delete("/api/v1/jobs")
    check(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"null", b"[]", b'"x"', b"1e999", b"[" * 30_000])
async def test_a_body_that_is_no_json_object_is_400(anyone: httpx.AsyncClient, body: bytes) -> None:
    answer = await anyone.post("/api/v1/auth/log-in", content=body, headers={"Content-Type": "application/json"})
    check(answer, 400, "invalid_request")


async def test_what_is_wrong_is_named_field_by_field(anyone: httpx.AsyncClient) -> None:
    answer = await anyone.post("/api/v1/auth/log-in", json={"email": "a@b.c"})
    problem = check(answer, 400, "invalid_request")
    assert any("password" in fault["where"] + fault["message"] for fault in problem["errors"])


async def test_a_body_too_large_is_413(anyone: httpx.AsyncClient) -> None:
    answer = await anyone.post("/api/v1/auth/log-in", json={"email": "a@b.c", "password": "x" * 100_000})
    check(answer, 413, "media_too_large")


async def test_a_password_is_never_said_back(anyone: httpx.AsyncClient) -> None:
    answer = await anyone.post("/api/v1/auth/log-in", json={"email": "a@b.c", "password": ["s3cret-s3cret"]})
    assert "s3cret" not in check(answer, 400, "invalid_request")["detail"] + answer.text


async def test_every_answer_carries_an_id_and_keeps_browsers_safe(anyone: httpx.AsyncClient, alice: Person) -> None:
    for client, path in (
        (anyone, "/nothing"),
        (anyone, "/livez"),
        (alice.http, "/api/v1/jobs"),
        (anyone, "/schema/openapi.json"),
    ):
        answer = await client.get(path)
        assert len(answer.headers["X-Request-ID"]) == 32
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "no-store" in answer.headers["Cache-Control"]
        assert "server" not in answer.headers


async def test_an_id_of_the_client_is_kept_when_it_is_harmless(anyone: httpx.AsyncClient) -> None:
    kept = await anyone.get("/livez", headers={"X-Request-ID": "trace-7.1"})
    assert kept.headers["X-Request-ID"] == "trace-7.1"
    for hostile in ("x" * 65, "a b", '"><script>', "é".encode("latin-1").decode("latin-1")):
        answer = await anyone.get("/livez", headers={b"X-Request-ID": hostile.encode("latin-1")})
        assert answer.headers["X-Request-ID"] != hostile


SECRET = "what was said in confidence"


@get("/boom", opt={"public": True})
async def boom() -> None:
    raise RuntimeError(SECRET)


@pytest.fixture(scope="module")
async def breaking(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A server with routes that fail."""
    app: Litestar = create_app(settings)
    app.register(boom)
    async with serving(app, settings) as address, httpx.AsyncClient(base_url=address) as client:
        yield client


async def test_a_mistake_of_ours_is_a_500_without_details(breaking: httpx.AsyncClient) -> None:
    answer = await breaking.get("/boom")
    check(answer, 500, "internal_error")
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("error", STATUS, ids=lambda cls: cls.__name__)
def test_every_error_of_ours_has_a_status_and_its_own_code(error: type[errors.OctaviaError]) -> None:
    problem = problem_of(error("One sentence."), "/x")
    assert (problem.status, problem.code, problem.detail) == (STATUS[error], error.code, "One sentence.")
    assert (problem.status in {429, 503}) == error.retryable


def test_no_error_is_missing_in_the_table() -> None:
    defined = {
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.OctaviaError)
    }
    assert set(STATUS) == defined - {errors.OctaviaError}
