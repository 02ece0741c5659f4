"""Polar, the merchant of record: its API and its signatures, through its SDK."""

import json
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Literal, Self
from uuid import UUID

import msgspec
from polar.base import PolarClientError, PolarError, PolarRateLimitError
from polar.v2026_10 import PolarAsync
from polar.v2026_10.errors import ResourceNotFound
from polar.v2026_10.outputs import Order
from polar.webhooks import PolarWebhookUnknownTypeError, PolarWebhookVerificationError, validate_event
from pydantic import SecretStr

from octavia_stream.billing.prices import Package
from octavia_stream.errors import Conflict, DependencyUnavailable, Forbidden, InvalidRequest, NotFound

TIMEOUT_S = 5.0
PAGE = 100
EXTERNAL_ID_KEY = "owner_id"
"""Under this name a checkout, and the order that becomes of it, says whose it is."""


class Message(msgspec.Struct, frozen=True):
    """What Polar tells: that something happened to an order. What the order is now, the API says."""

    id: str
    """The same on every repetition."""
    type: str
    order_id: str | None
    """None: it is about something else."""


class PolarOrder(msgspec.Struct, frozen=True):
    """An order as it is now."""

    id: str
    paid: bool
    owner_id: UUID | None
    """Of the account or team that gets the credits; None when the order was not begun here."""
    product_id: str | None
    net_cents: int
    """After discounts, before taxes."""
    refunded_cents: int
    lost_cents: int = 0
    """What the buyer's bank fetched back for good."""


class Polar:
    """Raises DependencyUnavailable when Polar does not answer or answers what nobody foresaw."""

    def __init__(
        self, token: SecretStr, secret: SecretStr, server: Literal["production", "sandbox"], url: str | None = None
    ) -> None:
        """secret: with which webhooks are signed. url: of the API, instead of the server's own."""
        self._secret = secret
        self._client = PolarAsync(token.get_secret_value(), environment=server, base_url=url, timeout=TIMEOUT_S)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, traceback)

    async def checkout(
        self, package: Package, owner_id: UUID, buyer_id: UUID, email: str, success_url: str | None
    ) -> str:
        """Where the buyer, who may buy for several owners of credits, goes to pay.

        Raises Conflict when the package is not on sale or Polar refuses.
        """
        if package.polar_product_id is None:
            raise Conflict("This package is not on sale here.")
        try:
            opened = await self._client.checkouts.create(
                products=[package.polar_product_id],
                external_customer_id=str(buyer_id),
                customer_email=email,
                metadata={EXTERNAL_ID_KEY: str(owner_id)},
                success_url=success_url,
            )
        except PolarError as error:
            if isinstance(error, PolarClientError) and not isinstance(error, PolarRateLimitError):
                raise Conflict("This package cannot be bought just now; tell the operator of this server.") from error
            raise _unavailable() from error
        return opened.url

    async def order(self, order_id: str) -> PolarOrder:
        """An order and its lost disputes. Raises NotFound."""
        try:
            found = await self._client.orders.get(order_id)
            disputes = await self._client.disputes.list(order_id=order_id, status="lost", limit=PAGE)
        except ResourceNotFound as error:
            raise NotFound("Polar knows no such order.") from error
        except PolarError as error:
            raise _unavailable() from error
        lost = sum(dispute.amount for dispute in disputes.items if dispute.order_id == order_id)
        return msgspec.structs.replace(_order(found), lost_cents=lost)

    async def order_ids(self) -> AsyncIterator[str]:
        """Every order there is, newest first."""
        page = 1
        while True:
            try:
                orders = await self._client.orders.list(page=page, limit=PAGE)
            except PolarError as error:
                raise _unavailable() from error
            for order in orders.items:
                yield order.id
            if page >= orders.pagination.max_page:
                return
            page += 1

    def verify(self, body: bytes, headers: Mapping[str, str]) -> Message:
        """The message in a webhook's body, byte for byte as it came. Raises Forbidden, InvalidRequest."""
        secret = self._secret.get_secret_value()
        try:
            # Verified, and not read into the SDK's types: that takes seconds at the first one, and messages of a type
            # or a shape that the SDK does not know yet are messages all the same.
            validate_event(body, dict(headers), secret, event_types=frozenset(), payload_loader=_unread)
        except PolarWebhookUnknownTypeError:
            pass
        except PolarWebhookVerificationError as error:
            raise Forbidden("The signature does not fit.") from error
        except (PolarError, RecursionError) as error:
            raise InvalidRequest("The message cannot be read.") from error
        try:
            content = json.loads(body)
            kind, data = str(content["type"]), content["data"]
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidRequest("The message cannot be read.") from error
        return Message(headers["webhook-id"], kind, _order_id(kind, data))


def _unread(content: dict[str, Any]) -> dict[str, Any]:
    return content


def _order_id(kind: str, data: Any) -> str | None:
    """Of the order that a message is about."""
    if not isinstance(data, dict):
        return None
    found = data.get("id") if kind.startswith("order.") else data.get("order_id")
    return found if isinstance(found, str) and found else None


def _order(order: Order) -> PolarOrder:
    said = order.metadata.get(EXTERNAL_ID_KEY) or order.customer.external_id
    try:
        owner_id = UUID(str(said))
    except ValueError:
        owner_id = None
    return PolarOrder(order.id, order.paid, owner_id, order.product_id, order.net_amount, order.refunded_amount)


def _unavailable() -> DependencyUnavailable:
    return DependencyUnavailable("The payment service cannot be reached just now; try again in a few seconds.")
