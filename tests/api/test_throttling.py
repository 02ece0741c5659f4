"""Requests are counted for every route, by who asks and by where they come from, in all api processes together."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
import structlog
from litestar import Litestar
from pydantic import SecretStr
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from api.app import create_app
from api.throttling import RATE_OPT, UNCOUNTED, class_of
from octavia_stream.config import LimitSettings, Settings, TierSettings
from octavia_stream.quotas import throttle
from octavia_stream.runtime import Runtime, open_runtime
from tests.api.api_process import ApiProcess
from tests.api.conftest import Person, person, serving

pytestmark = pytest.mark.services


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy for a second is not a Redis that is away."""
    monkeypatch.setattr(throttle, "TIMEOUT_S", 60.0)


UNBOUNDED = {"reads_per_minute": 0, "writes_per_minute": 0, "uploads_per_minute": 0}


def limited(
    settings: Settings, *, address: int = 0, tiers: dict[str, TierSettings] | None = None, **standard: int
) -> Settings:
    """These settings with other limits on requests."""
    limits = LimitSettings(
        **{
            **settings.limits.model_dump(),
            "requests_per_address": address,
            "standard": TierSettings(**{**UNBOUNDED, **standard}),
            "tiers": tiers or {},
        }
    )
    proxies = settings.api.model_copy(update={"trusted_proxies": ("127.0.0.1",)})
    return settings.model_copy(update={"limits": limits, "api": proxies})


@asynccontextmanager
async def server(settings: Settings) -> AsyncIterator[str]:
    async with serving(create_app(settings), settings) as url:
        yield url


async def statuses(client: httpx.AsyncClient, count: int, path: str = "/api/v1/auth/me", **more: Any) -> list[int]:
    return [answer.status_code for answer in await asyncio.gather(*(client.get(path, **more) for _ in range(count)))]


async def test_an_account_s_requests_come_to_an_end_and_every_answer_says_what_is_left(settings: Settings) -> None:
    async with server(limited(settings, reads_per_minute=5, writes_per_minute=2)) as url, person(url) as somebody:
        answers = [await somebody.http.get("/api/v1/auth/me") for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert answers[0].headers["RateLimit-Policy"] == '"account-reads";q=5;w=60'
        assert [answer.headers["RateLimit"].split(";")[1] for answer in answers[:5]] == [
            f"r={n}" for n in (4, 3, 2, 1, 0)
        ]
        refused = answers[5]
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.json()["code"] == "rate_limited"
        assert 0 < int(refused.headers["Retry-After"]) <= 12
        # What changes something is counted apart; who is refused there can still look.
        made = [await somebody.http.post("/api/v1/auth/ticket") for _ in range(3)]
        assert [answer.status_code for answer in made] == [201, 201, 429]


async def test_two_real_api_processes_share_one_count(settings: Settings) -> None:
    with_limits = limited(settings, reads_per_minute=40)
    one, other = ApiProcess(with_limits), ApiProcess(with_limits)
    try:
        await asyncio.gather(one.start(), other.start())
        async with (
            person(one.address) as somebody,
            httpx.AsyncClient(base_url=other.address, headers=somebody.http.headers, timeout=60) as elsewhere,
        ):
            began, seen = time.monotonic(), list[int]()
            for _ in range(10):
                for answers in await asyncio.gather(statuses(somebody.http, 5), statuses(elsewhere, 5)):
                    seen += answers
            dripped_in = (time.monotonic() - began) * 40 / 60 + 1
            assert set(seen) == {200, 429}
            assert 40 <= seen.count(200) <= 40 + dripped_in
    finally:
        for process in (one, other):
            await process.end(signal.SIGKILL)


async def test_a_second_api_key_buys_nothing(settings: Settings) -> None:
    async with server(limited(settings, reads_per_minute=4)) as url, person(url) as somebody:
        keys = [
            (await somebody.http.post("/api/v1/keys", json={"name": "a key", "scopes": ["jobs:read"]})).json()[
                "api_key"
            ]
            for _ in range(3)
        ]
        seen = []
        for key in (keys + keys)[:5]:
            answer = await somebody.http.get("/api/v1/jobs", headers={"Authorization": f"Bearer {key}"})
            seen.append(answer.status_code)
        assert seen == [200, 200, 200, 200, 429]


async def test_a_tier_has_limits_of_its_own(settings: Settings, runtime: Runtime) -> None:
    tiers = {"studio": TierSettings(reads_per_minute=6)}
    async with server(limited(settings, reads_per_minute=2, tiers=tiers)) as url:
        async with person(url) as somebody:
            assert sorted(await statuses(somebody.http, 8)) == [200] * 2 + [429] * 6
        async with person(url) as somebody:
            await runtime.pool.execute("update tenant set tier = 'studio' where id = $1", somebody.id)
            assert sorted(await statuses(somebody.http, 8)) == [200] * 6 + [429] * 2


async def test_an_address_is_counted_on_every_route_before_it_is_asked_who_is_there(settings: Settings) -> None:
    async with server(limited(settings, address=4)) as url, httpx.AsyncClient(base_url=url) as client:
        for path in ("/api/v1/languages", "/api/v1/jobs", "/schema/openapi.json"):
            here = {"X-Forwarded-For": f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}::1"}
            seen = [(await client.get(path, headers=here)).status_code for _ in range(6)]
            assert seen[4:] == [429, 429], path
            assert 429 not in seen[:4], path
            # What the client wrote itself stands left of what the proxy added.
            forged = {"X-Forwarded-For": f"203.0.113.9, {here['X-Forwarded-For']}"}
            assert (await client.get(path, headers=forged)).status_code == 429
        away = {"X-Forwarded-For": f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}::1"}
        # Whoever watches the server is not counted.
        assert [(await client.get("/livez", headers=away)).status_code for _ in range(9)] == [200] * 9


async def test_behind_proxies_that_write_the_standard_s_header_that_one_is_believed(settings: Settings) -> None:
    with_limits = limited(settings, address=2)
    api = with_limits.api.model_copy(update={"proxy_header": "forwarded"})
    async with server(with_limits.model_copy(update={"api": api})) as url, httpx.AsyncClient(base_url=url) as client:
        # What a client makes up in the other header gains nothing.
        network = f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}"
        seen = [
            (
                await client.get(
                    "/api/v1/languages",
                    headers={"Forwarded": f'for="[{network}::{n}]"', "X-Forwarded-For": f"203.0.113.{n}"},
                )
            ).status_code
            for n in range(1, 5)
        ]
        assert seen == [200, 200, 429, 429]


async def test_a_websocket_counts_as_a_request(settings: Settings) -> None:
    async with server(limited(settings, reads_per_minute=2)) as url, person(url) as somebody:
        codes = []
        for _ in range(3):
            address = f"{url.replace('http', 'ws')}/api/v1/jobs/{uuid4()}/events"
            async with connect(address, additional_headers={"Authorization": f"Bearer {somebody.token}"}) as socket:
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                codes.append(socket.close_code)
        assert codes == [4404, 4404, 4429]


async def test_while_redis_is_away_requests_are_let_in_and_the_log_says_so(
    settings: Settings, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A logger of its own: one that was used before writes to where it wrote then.
    monkeypatch.setattr(throttle, "log", structlog.stdlib.get_logger())
    # Port 9 of loopback: nobody listens.
    with_limits = limited(settings, address=1, reads_per_minute=1)
    without = with_limits.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:9/0")})

    @asynccontextmanager
    async def opened(_: Settings) -> AsyncIterator[Runtime]:
        async with open_runtime(with_limits) as runtime:
            yield runtime

    with capture_logs() as lines:
        async with serving(create_app(without, opened), without) as url, httpx.AsyncClient(base_url=url) as client:
            seen = await statuses(client, 5, headers={"Authorization": f"Bearer {alice.token}"}, timeout=60)
    assert seen == [200] * 5
    assert "requests_not_counted" in {line["event"] for line in lines}


def test_every_route_counts_in_a_class_but_those_that_watch_the_server(app: Litestar) -> None:
    uncounted = {
        path
        for route in app.routes
        for handler in getattr(route, "route_handler_map", {}).values()
        for path in handler[0].paths
        if class_of(handler[0].opt, "GET") is None
    }
    assert uncounted == {"/livez", "/readyz", "/metrics"}
    assert class_of({RATE_OPT: "uploads"}, "POST") == "uploads"
    assert class_of({RATE_OPT: UNCOUNTED}, "GET") is None
