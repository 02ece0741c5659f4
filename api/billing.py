"""Credits: what there is, what things cost, and where every credit went."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import JSONBody, QueryParameter

from api.auth import PROTECTED, PUBLIC
from api.errors import problems
from api.identity import for_keys
from api.services import JobId, OwnerId, Services, TeamOfQuery, TheServices
from octavia_stream.billing.credits import LINE_TYPES
from octavia_stream.billing.orders import Orders
from octavia_stream.billing.prices import PricingTiers
from octavia_stream.billing.transfer import LineType, StatementLine
from octavia_stream.errors import NotFound
from octavia_stream.jobs.job import JobKind

MAX_PAGE = 100
MAX_WEBHOOK_BYTES = 512 * 1024


class HoldView(msgspec.Struct, frozen=True):
    """Credits that are set aside until a job has ended."""

    job_id: UUID | None
    amount: int
    created_at: datetime


class BalanceView(msgspec.Struct, frozen=True):
    """What somebody has, in credits."""

    enabled: bool
    """False: this server charges nothing."""
    balance: int
    """All of it. Below zero only after a payment was returned whose credits were spent."""
    held: int
    """Set aside for jobs that have not ended."""
    available: int
    """What new jobs may cost: balance less held."""
    holds: list[HoldView]


class PackageView(msgspec.Struct, frozen=True):
    """Credits that are sold together."""

    id: str
    name: str
    credits: int
    price_cents: int
    """In hundredths of the currency."""
    on_sale: bool
    """Whether it can be bought here."""


class PricingView(msgspec.Struct, frozen=True):
    """What credits buy and cost."""

    enabled: bool
    currency: str
    """ISO 4217, in small letters."""
    free_credits: int
    """What a new account is given."""
    credits_per_minute: dict[str, int]
    """By kind of job; charged only where `enabled`."""
    packages: list[PackageView]


class QuoteView(msgspec.Struct, frozen=True):
    """What a job will be held for when it is started. It never costs more."""

    job_id: UUID
    kind: JobKind
    seconds: float
    minutes: float
    credits: int
    exact: bool
    """False when the file does not say how long it is: what it costs in the end is less."""
    estimated_s: float | None
    """How long it will take once a worker has it, going by the last jobs of its kind here; None before the first."""
    available: int
    affordable: bool


class TransactionPage(msgspec.Struct, frozen=True):
    """Changes of a balance, newest first."""

    transactions: list[StatementLine]
    next_before: UUID | None
    """Pass as `before` for the page after; None on the last one."""


class CheckoutRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to buy, and for whom. What it costs, the server knows."""

    package_id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    team_id: UUID | None = None
    """A team that you own or administer; None: yourself."""


class CheckoutView(msgspec.Struct, frozen=True):
    """Where to pay. Credits come when the payment has, whether or not the browser ever comes back."""

    url: str


class Received(msgspec.Struct, frozen=True):
    """The message is kept."""

    received: bool


class WebhookOperation(Operation):
    """The body is signed byte by byte, so it is read as it came, and its schema is written here."""

    def __post_init__(self) -> None:
        message = OpenAPIMediaType(schema=Schema(type=OpenAPIType.OBJECT))
        self.request_body = RequestBody(content={"application/json": message}, required=True)


@get(
    "/balance",
    operation_id="getBalance",
    summary="My credits",
    opt=for_keys("billing:read"),
    security=PROTECTED,
    responses=problems(401, 404),
)
async def get_balance(owner_id: OwnerId, services: TheServices, team_id: TeamOfQuery = None) -> BalanceView:
    """What there is, what is set aside and for which jobs, and what is left for new ones."""
    store = services.runtime.credits
    balance, holds = await store.balance_and_holds(await _purse(owner_id, team_id, services))
    return BalanceView(
        enabled=services.runtime.settings.billing.enabled,
        balance=balance.balance,
        held=balance.held,
        available=balance.available,
        holds=[HoldView(hold.job_id, hold.amount, hold.created_at) for hold in holds],
    )


@get("/pricing", operation_id="getPricing", summary="Prices", opt=PUBLIC, responses=problems())
async def get_pricing(services: TheServices) -> PricingView:
    """Credits for a minute of each kind of job, and packages of credits."""
    settings = services.runtime.settings.billing
    prices = services.runtime.charges.prices
    return PricingView(
        enabled=settings.enabled,
        currency=prices.currency,
        free_credits=settings.free_credits if settings.enabled else 0,
        credits_per_minute=prices.credits_per_minute,
        packages=_packages(prices, selling=services.orders is not None),
    )


@get(
    "/transactions",
    operation_id="listTransactions",
    summary="Where my credits came from and went",
    opt=for_keys("billing:read"),
    security=PROTECTED,
    responses=problems(401, 404),
)
async def list_transactions(
    owner_id: OwnerId,
    services: TheServices,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)] = 20,
    before: Annotated[UUID | None, QueryParameter(description="`next_before` of the page before.")] = None,
    line_type: Annotated[LineType | None, QueryParameter(name="type", description="Only lines of this type.")] = None,
    job_id: Annotated[UUID | None, QueryParameter(description="Only lines about this job.")] = None,
    team_id: TeamOfQuery = None,
) -> Response[TransactionPage]:
    """Newest first; amounts add up to the balance. The next page is also in the header `Link`, with `rel="next"`."""
    types = LINE_TYPES if line_type is None else (line_type,)
    owner = await _purse(owner_id, team_id, services)
    lines = await services.runtime.credits.statement(owner, limit + 1, before=before, types=types, job_id=job_id)
    page, more = lines[:limit], len(lines) > limit
    next_before = page[-1].id if more else None
    query = {"limit": limit, "before": next_before, "type": line_type, "job_id": job_id, "team_id": team_id}
    following = urlencode({name: value for name, value in query.items() if value is not None})
    headers = {"Link": f'</api/v1/billing/transactions?{following}>; rel="next"'} if more else {}
    return Response(TransactionPage(page, next_before), headers=headers)


@get(
    "/{job_id:uuid}/quote",
    operation_id="quoteJob",
    summary="What a job will cost",
    opt=for_keys("jobs:read", team="jobs:quote"),
    responses=problems(401, 404, 422),
)
async def quote_job(job_id: JobId, owner_id: OwnerId, services: TheServices) -> QuoteView:
    """By the length of its file. That much is held when the job is started; what is not delivered is let go again."""
    runtime = services.runtime
    job = await runtime.jobs.get(job_id, owner_id)
    upload = await runtime.uploads.get(job.upload_id, owner_id)
    quote = runtime.charges.quote_job(job, upload.media_info)
    available = (await runtime.credits.balance(owner_id)).available
    pace = await runtime.jobs.pace(job.kind) if quote.exact else None
    return QuoteView(
        job_id=job.id,
        kind=job.kind,
        seconds=quote.seconds,
        minutes=round(quote.seconds / 60, 2),
        credits=quote.credits,
        exact=quote.exact,
        estimated_s=round(pace * quote.seconds, 1) if pace is not None else None,
        available=available,
        affordable=quote.credits <= max(available, 0),
    )


@post(
    "/checkout",
    operation_id="createCheckout",
    summary="Buy credits",
    security=PROTECTED,
    responses=problems(401, 404, 409),
)
async def create_checkout(data: JSONBody[CheckoutRequest], owner_id: OwnerId, services: TheServices) -> CheckoutView:
    """Opens a checkout at Polar for one package. 404 where this server sells none."""
    owner = await services.access.owner_for(owner_id, data.team_id, "billing:buy")
    orders = _orders(services)
    account = await services.runtime.accounts.get(owner_id)
    back = services.runtime.settings.api.public_url
    return CheckoutView(await orders.checkout(owner, owner_id, account.email, data.package_id, back))


@post(
    "/webhook",
    operation_id="polarWebhook",
    operation_class=WebhookOperation,
    summary="For Polar alone",
    status_code=202,
    opt=PUBLIC,
    request_max_body_size=MAX_WEBHOOK_BYTES,
    responses=problems(403, 404, 413),
)
async def polar_webhook(request: Request[None, None, Any], services: TheServices) -> Received:
    """Messages signed by Polar (Standard Webhooks), each kept once, for ever; types nobody knows are kept too."""
    orders = _orders(services)
    await orders.receive(await request.body(), dict(request.headers))
    return Received(received=True)


async def _purse(account_id: UUID, team_id: UUID | None, services: Services) -> UUID:
    """Whose credits are asked for. Raises NotFound, Forbidden."""
    return await services.access.owner_for(account_id, team_id, "billing:read")


def _orders(services: Services) -> Orders:
    if services.orders is None:
        raise NotFound("This server sells no credits.")
    return services.orders


def _packages(prices: PricingTiers, *, selling: bool) -> list[PackageView]:
    return [
        PackageView(one.id, one.name, one.credits, one.price_cents, selling and one.polar_product_id is not None)
        for one in prices.package
    ]


billing_router = Router(
    "/billing",
    route_handlers=[get_balance, get_pricing, list_transactions, create_checkout, polar_webhook],
    tags=["billing"],
)
