"""A server on loopback that speaks as much of Polar's API as we use, and signs webhooks like it.

What it answers is built from the types of Polar's own SDK, so a field that the SDK demands is there.
"""

import asyncio
import dataclasses
import json
import types
import typing
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from litestar import Litestar, Request, Response, get, post
from litestar.params import FromPath
from polar.v2026_10 import outputs
from standardwebhooks import Webhook

TOKEN = "polar_oat_test"


def sample(kind: Any) -> Any:
    """The least value of a type, as JSON."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return {field.name: sample(hints[field.name]) for field in dataclasses.fields(kind)}
    if origin is typing.Literal:
        return arguments[0]
    if origin in (typing.Union, types.UnionType):
        return None if type(None) in arguments else sample(arguments[0])
    return {str: "x", int: 0, float: 0.5, bool: False, list: [], dict: {}}[origin or kind]


class PolarServer:
    """Its state, for tests to change, and its application."""

    def __init__(self, secret: bytes) -> None:
        self.webhook = Webhook(secret)
        self.orders: dict[str, dict[str, Any]] = {}
        self.disputes: list[dict[str, Any]] = []
        self.checkouts: list[dict[str, Any]] = []
        self.asked = 0
        self.away = False
        self.slow_s = 0.0

    def app(self) -> Litestar:
        return Litestar(
            route_handlers=[
                post("/v1/checkouts/", status_code=201)(self._open_checkout),
                get("/v1/orders/")(self._list_orders),
                get("/v1/orders/{order_id:str}")(self._get_order),
                get("/v1/disputes/")(self._list_disputes),
            ],
            openapi_config=None,
            logging_config=None,
        )

    def sell(self, owner_id: Any, product_id: str | None, *, cents: int = 900, **changes: Any) -> str:
        """A paid order; returns its id."""
        order = sample(outputs.Order)
        order |= {
            "id": str(uuid4()),
            "status": "paid",
            "paid": True,
            "product_id": product_id,
            "net_amount": cents,
            "total_amount": cents,
            "metadata": {"owner_id": str(owner_id)},
            **changes,
        }
        self.orders[order["id"]] = order
        return str(order["id"])

    def dispute(self, order_id: str, cents: int, status: str = "lost") -> None:
        self.disputes.append(
            sample(outputs.Dispute) | {"id": str(uuid4()), "order_id": order_id, "amount": cents, "status": status}
        )

    def message(
        self, kind: str, data: dict[str, Any], webhook_id: str | None = None, at: datetime | None = None
    ) -> tuple[bytes, dict[str, str]]:
        """A signed webhook: its body and its headers."""
        at = at or datetime.now(UTC)
        body = json.dumps({"type": kind, "timestamp": at.isoformat(), "api_version": "2026-10", "data": data})
        webhook_id = webhook_id or f"msg_{uuid4().hex}"
        headers = {
            "content-type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": self.webhook.sign(webhook_id, at, body),
        }
        return body.encode(), headers

    def about(self, kind: str, order_id: str, webhook_id: str | None = None) -> tuple[bytes, dict[str, str]]:
        """A signed message about an order."""
        return self.message(kind, self.orders[order_id], webhook_id)

    async def _open_checkout(self, request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
        if (refused := await self._refusal(request)) is not None:
            return refused
        wish = await request.json()
        self.checkouts.append(wish)
        if wish["products"] == ["gone"]:
            return Response({"error": "RequestValidationError", "detail": []}, status_code=422)
        address = f"https://polar.test/checkout/{len(self.checkouts)}"
        return Response(sample(outputs.Checkout) | {"id": str(uuid4()), "url": address}, status_code=201)

    async def _get_order(self, request: Request[Any, Any, Any], order_id: FromPath[str]) -> Response[dict[str, Any]]:
        if (refused := await self._refusal(request)) is not None:
            return refused
        if order_id not in self.orders:
            return Response({"error": "ResourceNotFound", "detail": "Not found"}, status_code=404)
        return Response(self.orders[order_id])

    async def _list_orders(self, request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
        return await self._refusal(request) or self._page(request, list(self.orders.values()))

    async def _list_disputes(self, request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
        wanted = (request.query_params["order_id"], request.query_params["status"])
        found = [one for one in self.disputes if (one["order_id"], one["status"]) == wanted]
        return await self._refusal(request) or self._page(request, found)

    def _page(self, request: Request[Any, Any, Any], items: Sequence[Any]) -> Response[dict[str, Any]]:
        page, limit = int(request.query_params["page"]), int(request.query_params["limit"])
        pages = max(1, -(-len(items) // limit))
        return Response(
            {
                "items": items[(page - 1) * limit : page * limit],
                "pagination": {"total_count": len(items), "max_page": pages},
            }
        )

    async def _refusal(self, request: Request[Any, Any, Any]) -> Response[dict[str, Any]] | None:
        self.asked += 1
        await asyncio.sleep(self.slow_s)
        if self.away:
            return Response({"detail": "Down for maintenance"}, status_code=503)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Response({"error": "unauthorized"}, status_code=401)
        return None


LONG_AGO = timedelta(minutes=6)
