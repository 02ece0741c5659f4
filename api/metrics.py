"""`/metrics`: what Prometheus asks for, of all processes together, for whoever shows the operator's token."""

import hmac
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from litestar import Request, Response, Router, get
from litestar.datastructures import State

from api.auth import PUBLIC
from api.health import dependencies
from api.services import Services, TheServices
from api.throttling import RATE_OPT, UNCOUNTED
from octavia_stream.errors import DependencyUnavailable, NotFound
from octavia_stream.telemetry import metrics
from octavia_stream.telemetry.process_card import ProcessCard, present, send_counts


# Not part of the API: neither its address nor its contents are for clients.
@get("/metrics", opt={**PUBLIC, RATE_OPT: UNCOUNTED}, include_in_schema=False)
async def show_metrics(request: Request[Any, Any, State], services: TheServices) -> Response[bytes]:
    """404 without the right token, and where the server has none."""
    _require_token(request, services)
    down = {fault.where for fault in await dependencies(services.runtime)}
    for name in ("postgres", "redis", "storage"):
        metrics.DEPENDENCY_UP.labels(name).set(name not in down)
    metrics.BUILD.labels(version("octavia-stream")).set(1)
    if "postgres" not in down:
        await services.state.measure()
    counts, gauges = await _told_by_all(services)
    return Response(metrics.exposition(counts, gauges), media_type=metrics.CONTENT_TYPE)


def _require_token(request: Request[Any, Any, State], services: Services) -> None:
    token = services.runtime.settings.metrics_token
    shown = request.headers.get("authorization", "")
    expected = f"Bearer {token.get_secret_value()}" if token is not None else ""
    if not expected or not hmac.compare_digest(shown.encode(), expected.encode()):
        raise NotFound("There is nothing at this address.")


async def _told_by_all(services: Services) -> tuple[metrics.Counts, list[metrics.Counts]]:
    """What all processes counted, and what each has now; nothing while Redis is away, rather than a part."""
    redis = services.runtime.redis
    counts, cards = dict[str, float](), list[ProcessCard]()
    with suppress(DependencyUnavailable):
        await send_counts(redis)
        cards = await present(redis)
        counts = await redis.counts()
    metrics.PROCESSES.clear()
    for card in cards:
        metrics.PROCESSES.labels(card.role).inc()
    return counts, [card.gauges for card in cards]


metrics_router = Router("", route_handlers=[show_metrics])
