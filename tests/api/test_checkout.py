"""Buying credits: from Polar's word alone, once for each order, and back when the money goes back."""

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar
from pydantic import SecretStr

from octavia_stream.billing.audit import LedgerAudit, audit_ledger
from octavia_stream.billing.orders import Orders
from octavia_stream.config import BillingSettings, Settings
from octavia_stream.errors import DependencyUnavailable
from octavia_stream.runtime import Runtime
from tests.api.conftest import Person, eventually, person, serving
from tests.api.polar_server import LONG_AGO, TOKEN, PolarServer

pytestmark = pytest.mark.services

SECRET = b"a secret of Polar, 32 bytes long"
PRICES = """
currency = "usd"
[credits_per_minute]
video-translate = 10
[[package]]
id = "starter"
name = "Starter"
credits = 600
price_cents = 900
polar_product_id = "product-1"
[[package]]
id = "gone"
name = "Gone at Polar"
credits = 1
price_cents = 1
polar_product_id = "gone"
[[package]]
id = "shown"
name = "Only shown"
credits = 1
price_cents = 1
"""
HOOK = "/api/v1/billing/webhook"


@pytest.fixture(scope="module")
def polar() -> PolarServer:
    return PolarServer(SECRET)


@pytest.fixture(scope="module")
async def polar_address(polar: PolarServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    import socket

    import uvicorn

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(polar.app(), log_config=None, lifespan="off", ws="none"))
        task = asyncio.create_task(server.serve([listening]))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await task


@pytest.fixture(scope="module")
def settings(settings: Settings, polar_address: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    prices: Path = tmp_path_factory.mktemp("prices") / "prices.toml"
    prices.write_text(PRICES)
    return settings.model_copy(
        update={
            "billing": BillingSettings(enabled=True, free_credits=0, pricing=prices, polar_url=polar_address),
            "polar_token": SecretStr(TOKEN),
            "polar_webhook_secret": SecretStr("whsec_" + base64.b64encode(SECRET).decode()),
        }
    )


@pytest.fixture
async def carol(address: str) -> AsyncIterator[Person]:
    async with person(address) as somebody:
        yield somebody


@pytest.fixture
async def orders(app: Litestar, address: str) -> Orders:
    selling: Orders | None = app.state.services.orders
    assert selling is not None
    return selling


@pytest.fixture(autouse=True)
async def sound(runtime: Runtime, polar: PolarServer) -> AsyncIterator[None]:
    yield
    polar.away = False
    assert await audit_ledger(runtime.pool) == LedgerAudit(0, 0, 0, 0)


async def tell(anyone: httpx.AsyncClient, message: tuple[bytes, dict[str, str]]) -> int:
    body, headers = message
    return (await anyone.post(HOOK, content=body, headers=headers)).status_code


async def balance(somebody: Person) -> int:
    found: int = (await somebody.http.get("/api/v1/billing/balance")).json()["balance"]
    return found


async def has(somebody: Person, credits: int) -> None:
    async def check() -> bool:
        return await balance(somebody) == credits

    await eventually(check, f"{credits} credits")


async def settled(runtime: Runtime) -> None:
    async def check() -> bool:
        return not await runtime.pool.fetchval("select count(*) from polar_event where settled_at is null")

    await eventually(check, "all messages are settled")


async def test_a_checkout_is_opened_at_polar_for_who_asks_and_gives_nothing_by_itself(
    carol: Person, polar: PolarServer
) -> None:
    answer = await carol.http.post("/api/v1/billing/checkout", json={"package_id": "starter"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["url"].startswith("https://polar.test/checkout/")
    wish = polar.checkouts[-1]
    assert (wish["products"], wish["external_customer_id"]) == (["product-1"], str(carol.id))
    assert (wish["metadata"], wish["customer_email"]) == ({"owner_id": str(carol.id)}, carol.email)
    assert "amount" not in wish, "the price is Polar's and the operator's affair"
    assert await balance(carol) == 0


@pytest.mark.parametrize(("package", "status"), [("none", 404), ("shown", 409), ("gone", 409)])
async def test_what_is_not_on_sale_cannot_be_bought(carol: Person, package: str, status: int) -> None:
    answer = await carol.http.post("/api/v1/billing/checkout", json={"package_id": package})
    assert answer.status_code == status
    assert answer.json()["detail"].endswith(".")


@pytest.mark.parametrize("extra", [{"price_cents": 1}, {"credits": 10**6}, {"owner_id": "x"}, {"amount": 1}])
async def test_nobody_names_their_own_price(carol: Person, extra: dict[str, Any]) -> None:
    answer = await carol.http.post("/api/v1/billing/checkout", json={"package_id": "starter", **extra})
    assert answer.status_code == 400


async def test_a_paid_order_is_credited(
    carol: Person, anyone: httpx.AsyncClient, polar: PolarServer, runtime: Runtime
) -> None:
    order = polar.sell(carol.id, "product-1")
    assert await tell(anyone, polar.about("order.paid", order)) == 202
    await has(carol, 600)
    lines = (await carol.http.get("/api/v1/billing/transactions")).json()["transactions"]
    assert [(line["type"], line["amount"], line["reason"]) for line in lines] == [("purchase", 600, "Starter")]


async def test_a_thousand_repetitions_in_any_order_credit_once(
    carol: Person, anyone: httpx.AsyncClient, polar: PolarServer, runtime: Runtime, orders: Orders
) -> None:
    order = polar.sell(carol.id, "product-1", cents=900, refunded_amount=300)
    ids = [f"msg_{order}_{number}" for number in range(10)]
    kinds = ["order.created", "order.paid", "order.updated", "order.refunded", "something.new"]
    messages = [polar.about(random.choice(kinds), order, webhook_id) for webhook_id in ids] * 100  # noqa: S311
    random.shuffle(messages)
    waiting = asyncio.Semaphore(20)

    async def send(message: tuple[bytes, dict[str, str]]) -> int:
        async with waiting:
            # Polar says again what was answered so, and a crowded machine may.
            while (status := await tell(anyone, message)) == 503:
                pass
            return status

    assert set(await asyncio.gather(*(send(message) for message in messages))) == {202}
    await settled(runtime)
    await asyncio.gather(*(orders.settle(order) for _ in range(20)))
    assert await balance(carol) == 400
    lines = (await carol.http.get("/api/v1/billing/transactions")).json()["transactions"]
    assert [(line["type"], line["amount"]) for line in lines] == [("refund", -200), ("purchase", 600)]
    kept = await runtime.pool.fetchval("select count(*) from polar_event where webhook_id like $1", f"msg_{order}_%")
    assert kept == 10


async def test_refunds_and_chargebacks_take_their_share_even_of_what_is_spent(
    carol: Person, anyone: httpx.AsyncClient, polar: PolarServer, runtime: Runtime, orders: Orders
) -> None:
    order = polar.sell(carol.id, "product-1", cents=900)
    await orders.settle(order)
    await runtime.credits.adjust(carol.id, -500, key=f"spent/{order}", reason="Spent.")
    polar.orders[order]["refunded_amount"] = 1
    await tell(anyone, polar.about("order.refunded", order))
    await has(carol, 99)
    polar.orders[order]["refunded_amount"] = 450
    await tell(anyone, polar.message("refund.updated", {"id": "r", "order_id": order}))
    await has(carol, -200)
    polar.dispute(order, 900, "under_review")
    await orders.settle(order)
    assert await balance(carol) == -200
    polar.dispute(order, 900)
    await orders.reconcile()
    assert await balance(carol) == -500, "never more than the order gave"
    lines = (await carol.http.get("/api/v1/billing/transactions?limit=3")).json()["transactions"]
    assert [(line["type"], line["amount"]) for line in lines] == [
        ("chargeback", -300), ("refund", -299), ("refund", -1),
    ]  # fmt: skip


async def test_what_never_was_told_is_found_by_reconciling(carol: Person, polar: PolarServer, orders: Orders) -> None:
    for _ in range(103):
        polar.sell(carol.id, "product-1", paid=False, status="pending")
    polar.sell(carol.id, "product-1")
    assert await orders.reconcile() == len(polar.orders)
    assert await balance(carol) == 600


async def test_a_payment_service_that_is_away_loses_nothing(
    carol: Person, anyone: httpx.AsyncClient, polar: PolarServer, runtime: Runtime, orders: Orders
) -> None:
    order = polar.sell(carol.id, "product-1")
    polar.away = True
    asked = polar.asked
    assert await tell(anyone, polar.about("order.paid", order)) == 202

    async def tried() -> bool:
        return polar.asked > asked

    await eventually(tried, "somebody asked Polar")
    refused = await carol.http.post("/api/v1/billing/checkout", json={"package_id": "starter"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    with pytest.raises(DependencyUnavailable):
        await orders.reconcile()
    assert await balance(carol) == 0
    polar.away = False

    async def retried() -> bool:
        await runtime.pool.execute("update polar_event set next_try_at = now() where settled_at is null")
        await orders.settle_pending()
        return await balance(carol) == 600

    await eventually(retried, "the order is credited")


@pytest.mark.parametrize(
    ("product", "changes", "problem"),
    [
        ("another", {}, "nothing that is on sale"),
        (None, {}, "nothing that is on sale"),
        ("product-1", {"metadata": {"owner_id": "somebody"}}, "names no account"),
        ("product-1", {"metadata": {"owner_id": "00000000-0000-7000-8000-000000000000"}}, "names no account"),
    ],
)
async def test_an_order_that_fits_nobody_is_kept_for_an_operator(
    anyone: httpx.AsyncClient,
    polar: PolarServer,
    runtime: Runtime,
    product: str | None,
    changes: dict[str, Any],
    problem: str,
) -> None:
    order = polar.sell("", product, **changes)
    assert await tell(anyone, polar.about("order.paid", order)) == 202
    await settled(runtime)
    assert problem in await runtime.pool.fetchval("select problem from polar_event where order_id = $1", order)
    assert await runtime.pool.fetchval("select count(*) from credit_transfer where order_id = $1", order) == 0
    del polar.orders[order]


async def test_what_a_message_says_counts_for_nothing(
    carol: Person, anyone: httpx.AsyncClient, polar: PolarServer, runtime: Runtime
) -> None:
    """Only what the API says does, even if the signature fits."""
    unpaid = polar.sell(carol.id, "product-1", paid=False)
    assert await tell(anyone, polar.message("order.paid", polar.orders[unpaid] | {"paid": True})) == 202
    assert await tell(anyone, polar.message("order.paid", {"id": "no-such-order", "paid": True})) == 202
    assert await tell(anyone, polar.message("customer.created", {"id": "x"})) == 202
    assert await tell(anyone, polar.message("order.paid", {})) == 202
    await settled(runtime)
    assert await balance(carol) == 0


def forgeries(polar: PolarServer, order: str) -> list[tuple[bytes, dict[str, str]]]:
    body, headers = polar.about("order.paid", order)
    _, id_, at, signature = (headers[name] for name in headers)
    stranger = PolarServer(b"another secret, also 32 bytes, or so")
    stranger.orders = polar.orders
    scheme, _, digest = signature.partition(",")
    now = datetime.now(UTC)
    changed: list[dict[str, str | None]] = [
        {"webhook-signature": None},
        {"webhook-id": None},
        {"webhook-timestamp": None},
        {"webhook-signature": ""},
        {"webhook-signature": digest},
        {"webhook-signature": f"v2,{digest}"},
        {"webhook-signature": f"{scheme},{digest[:-4]}"},
        {"webhook-signature": f"{scheme},{digest[::-1]}"},
        {"webhook-signature": f"{scheme},"},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": f"{scheme}{digest}"},
        {"webhook-id": id_ + "1"},
        {"webhook-id": id_[:-1]},
        {"webhook-timestamp": str(int(at) + 1)},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "inf"},
    ]
    variants = [
        (body, {name: value for name, value in (headers | change).items() if value is not None}) for change in changed
    ]
    return [
        *variants,
        (body + b" ", headers),
        (body.replace(b"true", b"false"), headers),
        (b"", headers),
        (b"\xff", headers),
        stranger.about("order.paid", order),
        polar.message("order.paid", polar.orders[order], at=now - LONG_AGO),
        polar.message("order.paid", polar.orders[order], at=now + LONG_AGO),
    ]


async def test_forged_messages_are_refused(
    carol: Person, anyone: httpx.AsyncClient, polar: PolarServer, runtime: Runtime
) -> None:
    order = polar.sell(carol.id, "product-1")
    before = await runtime.pool.fetchval("select count(*) from polar_event")
    variants = forgeries(polar, order)
    assert len(variants) >= 20
    answers = [await anyone.post(HOOK, content=body, headers=headers) for body, headers in variants]
    # Bytes that are no text cannot be signed by anybody: they are refused before that.
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} <= {
        (403, "forbidden"), (400, "invalid_request"),
    }  # fmt: skip
    assert sum(answer.status_code == 400 for answer in answers) <= 1
    assert await runtime.pool.fetchval("select count(*) from polar_event") == before
    assert await balance(carol) == 0


async def test_a_server_without_a_key_to_polar_sells_nothing(settings: Settings) -> None:
    from api.app import create_app

    closed = settings.model_copy(update={"polar_token": None})
    async with serving(create_app(closed), closed) as address, person(address) as somebody:
        for path in ("checkout", "webhook"):
            answer = await somebody.http.post(f"/api/v1/billing/{path}", json={"package_id": "starter"})
            assert (answer.status_code, answer.json()["detail"]) == (404, "This server sells no credits.")
        pricing = (await somebody.http.get("/api/v1/billing/pricing")).json()
        assert not any(package["on_sale"] for package in pricing["packages"])
