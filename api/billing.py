"""Credits: what there is, what things cost, and where every credit went."""

from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Response, Router, get
from litestar.params import QueryParameter

from api.auth import PROTECTED, PUBLIC
from api.errors import problems
from api.services import JobId, OwnerId, TheServices
from octavia_stream.billing.credits import LINE_TYPES
from octavia_stream.billing.prices import PricingTiers
from octavia_stream.billing.transfer import LineType, StatementLine
from octavia_stream.jobs.job import JobKind

MAX_PAGE = 100


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
    available: int
    affordable: bool


class TransactionPage(msgspec.Struct, frozen=True):
    """Changes of a balance, newest first."""

    transactions: list[StatementLine]
    next_before: UUID | None
    """Pass as `before` for the page after; None on the last one."""


@get("/balance", operation_id="getBalance", summary="My credits", security=PROTECTED, responses=problems(401))
async def get_balance(owner_id: OwnerId, services: TheServices) -> BalanceView:
    """What there is, what is set aside and for which jobs, and what is left for new ones."""
    store = services.runtime.credits
    balance, holds = await store.balance_and_holds(owner_id)
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
        packages=_packages(prices),
    )


@get(
    "/transactions",
    operation_id="listTransactions",
    summary="Where my credits came from and went",
    security=PROTECTED,
    responses=problems(401),
)
async def list_transactions(
    owner_id: OwnerId,
    services: TheServices,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)] = 20,
    before: Annotated[UUID | None, QueryParameter(description="`next_before` of the page before.")] = None,
    line_type: Annotated[LineType | None, QueryParameter(name="type", description="Only lines of this type.")] = None,
    job_id: Annotated[UUID | None, QueryParameter(description="Only lines about this job.")] = None,
) -> Response[TransactionPage]:
    """Newest first; amounts add up to the balance. The next page is also in the header `Link`, with `rel="next"`."""
    types = LINE_TYPES if line_type is None else (line_type,)
    lines = await services.runtime.credits.statement(owner_id, limit + 1, before=before, types=types, job_id=job_id)
    page, more = lines[:limit], len(lines) > limit
    next_before = page[-1].id if more else None
    query = {"limit": limit, "before": next_before, "type": line_type, "job_id": job_id}
    following = urlencode({name: value for name, value in query.items() if value is not None})
    headers = {"Link": f'</api/v1/billing/transactions?{following}>; rel="next"'} if more else {}
    return Response(TransactionPage(page, next_before), headers=headers)


@get(
    "/{job_id:uuid}/quote",
    operation_id="quoteJob",
    summary="What a job will cost",
    responses=problems(401, 404, 422),
)
async def quote_job(job_id: JobId, owner_id: OwnerId, services: TheServices) -> QuoteView:
    """By the length of its file. That much is held when the job is started; what is not delivered is let go again."""
    runtime = services.runtime
    job = await runtime.jobs.get(job_id, owner_id)
    upload = await runtime.uploads.get(job.upload_id, owner_id)
    quote = runtime.charges.quote(job.kind, upload.media_info)
    available = (await runtime.credits.balance(owner_id)).available
    return QuoteView(
        job_id=job.id,
        kind=job.kind,
        seconds=quote.seconds,
        minutes=round(quote.seconds / 60, 2),
        credits=quote.credits,
        exact=quote.exact,
        available=available,
        affordable=quote.credits <= max(available, 0),
    )


def _packages(prices: PricingTiers) -> list[PackageView]:
    return [
        PackageView(one.id, one.name, one.credits, one.price_cents, one.polar_product_id is not None)
        for one in prices.package
    ]


billing_router = Router("/billing", route_handlers=[get_balance, get_pricing, list_transactions], tags=["billing"])
