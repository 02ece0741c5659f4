"""How often somebody may try: one count for all processes, by who is really there, and nobody in while it is away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from api.app import create_app
from octavia_stream.config import LimitSettings, Settings
from octavia_stream.runtime import Runtime, open_runtime
from tests.api.conftest import PASSWORD, Person, person, serving

pytestmark = pytest.mark.services

WRONG = "a wrong password"


@asynccontextmanager
async def limited(settings: Settings, proxies: tuple[str, ...] = (), **limits: int) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server with these limits."""
    generous = {
        "log_in_attempts_per_address": 100_000,
        "sign_ups_per_address": 100_000,
        "requests_per_address": 0,
        **limits,
    }
    with_limits = settings.model_copy(
        update={
            "limits": LimitSettings.model_validate(generous),
            "api": settings.api.model_copy(update={"trusted_proxies": proxies}),
        }
    )
    async with (
        serving(create_app(with_limits), with_limits) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as client,
    ):
        yield client


async def guess(client: httpx.AsyncClient, email: str, password: str = WRONG, forwarded: str = "") -> httpx.Response:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    return await client.post("/api/v1/auth/log-in", json={"email": email, "password": password}, headers=headers)


async def test_guesses_at_an_account_come_to_an_end_and_say_when_to_come_back(settings: Settings) -> None:
    async with limited(settings, log_in_attempts=3) as client:
        email = f"{uuid4().hex}@example.org"
        answers = [await guess(client, email) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [401] * 3
        assert answers[0].headers["RateLimit-Policy"] == '"password";q=3;w=900'
        assert [answer.headers["RateLimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0"]
        refused = await guess(client, f" {email.upper()}".strip())
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert 0 < int(refused.headers["Retry-After"]) <= 900
        assert refused.headers["RateLimit"].startswith('"password";r=0;t=')


async def test_the_right_password_forgives_slips_but_does_not_break_the_limit(
    settings: Settings, alice: Person
) -> None:
    async with limited(settings, log_in_attempts=3) as client:
        for _ in range(2):
            assert [(await guess(client, alice.email)).status_code for _ in range(2)] == [401, 401]
            assert (await guess(client, alice.email, PASSWORD)).status_code == 200
        assert [(await guess(client, alice.email)).status_code for _ in range(4)] == [401, 401, 401, 429]
        assert (await guess(client, alice.email, PASSWORD)).status_code == 429


async def test_two_processes_share_one_count(settings: Settings) -> None:
    email = f"{uuid4().hex}@example.org"
    async with limited(settings, log_in_attempts=4) as one, limited(settings, log_in_attempts=4) as other:
        seen = [(await guess(client, email)).status_code for _ in range(4) for client in (one, other)]
    assert seen.count(401) == 4
    assert seen.count(429) == 4


async def test_whoever_makes_up_addresses_gains_nothing(settings: Settings) -> None:
    email = f"{uuid4().hex}@example.org"
    async with limited(settings, log_in_attempts=5) as client:
        seen = [(await guess(client, email, forwarded=f"203.0.113.{n}")).status_code for n in range(50)]
    assert seen.count(401) == 5


async def test_behind_a_trusted_proxy_people_are_told_apart_by_what_it_says(settings: Settings) -> None:
    email = f"{uuid4().hex}@example.org"
    async with limited(settings, proxies=("127.0.0.0/8",), log_in_attempts=2) as client:
        one = [(await guess(client, email, forwarded="203.0.113.1")).status_code for _ in range(3)]
        # What the client wrote itself stands left of what the proxy added.
        forged = [(await guess(client, email, forwarded=f"10.9.8.{n}, 203.0.113.1")).status_code for n in range(3)]
        other = await guess(client, email, forwarded="203.0.113.2")
        network = [(await guess(client, email, forwarded=f"2001:db8:1:2::{n}")).status_code for n in range(3)]
    assert one == [401, 401, 429]
    assert forged == [429] * 3
    assert other.status_code == 401
    assert network == [401, 401, 429]


async def test_an_account_is_guarded_against_many_addresses_and_an_address_against_many_accounts(
    settings: Settings,
) -> None:
    email = f"{uuid4().hex}@example.org"
    async with limited(settings, proxies=("127.0.0.1",), log_in_attempts_per_account=5) as client:
        seen = [(await guess(client, email, forwarded=f"203.0.113.{n}")).status_code for n in range(8)]
    assert seen == [401] * 5 + [429] * 3
    async with limited(settings, proxies=("127.0.0.1",), log_in_attempts_per_address=5) as client:
        many = [f"{uuid4().hex}@example.org" for _ in range(8)]
        seen = [(await guess(client, one, forwarded="198.51.100.7")).status_code for one in many]
    assert seen == [401] * 5 + [429] * 3


async def test_sign_ups_and_changes_of_passwords_are_counted_too(settings: Settings) -> None:
    async with limited(settings, proxies=("127.0.0.1",), sign_ups_per_address=2) as client:
        seen = []
        for _ in range(3):
            body = {"email": f"{uuid4().hex}@example.org", "password": PASSWORD}
            answer = await client.post("/api/v1/auth/sign-up", json=body, headers={"X-Forwarded-For": "198.51.100.8"})
            seen.append(answer.status_code)
    assert seen == [201, 201, 429]
    async with limited(settings, log_in_attempts=2) as client, person(str(client.base_url)) as somebody:
        body = {"password": WRONG, "new_password": PASSWORD}
        changes = [(await somebody.http.post("/api/v1/auth/password", json=body)).status_code for _ in range(3)]
        assert changes == [403, 403, 429]


async def test_while_redis_is_away_no_password_is_checked(settings: Settings, alice: Person) -> None:
    # Port 9 of loopback: nobody listens.
    without = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:9/0")})

    @asynccontextmanager
    async def opened(_: Settings) -> AsyncIterator[Runtime]:
        async with open_runtime(settings) as runtime:
            yield runtime

    app = create_app(without, opened)
    async with serving(app, without) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        answer = await guess(client, alice.email, PASSWORD)
        assert (answer.status_code, answer.json()["code"]) == (503, "dependency_unavailable")
        assert answer.headers["Retry-After"]
        # Who is in already stays in.
        me = await client.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {alice.token}"})
        assert me.status_code == 200


async def test_no_address_of_a_person_lies_in_redis(settings: Settings, redis_url: str) -> None:
    name = uuid4().hex
    async with limited(settings) as client:
        await guess(client, f"{name}@example.org")
    async with Redis.from_url(redis_url) as redis:
        keys = [key async for key in redis.scan_iter("octavia:limits*")]
    assert keys
    assert not any(name.encode() in key for key in keys)
