"""Alive, and ready: for whoever decides to restart this process or to send it requests."""

import asyncio
from collections.abc import Awaitable

import msgspec
from litestar import Router, get

from api.errors import Fault, NotReady, problems
from api.services import TheServices
from octavia_stream.errors import OctaviaError

CHECK_TIMEOUT_S = 2.0


class Health(msgspec.Struct, frozen=True):
    """Good news; bad news is a problem."""

    status: str


@get("/livez", operation_id="livez", summary="Does the process answer", responses=problems())
async def livez() -> Health:
    """Says nothing about the services behind it: restarting this process would not help those."""
    return Health("ok")


@get("/readyz", operation_id="readyz", summary="Can requests be served", responses=problems())
async def readyz(services: TheServices) -> Health:
    """503 with one entry in `errors` for every service that does not answer within two seconds."""
    runtime = services.runtime
    faults = await asyncio.gather(
        _fault("postgres", runtime.pool.ping()),
        _fault("redis", runtime.redis.ping()),
        _fault("storage", runtime.objects.exists("ready")),
    )
    if away := [fault for fault in faults if fault is not None]:
        raise NotReady(away)
    return Health("ready")


async def _fault(where: str, check: Awaitable[object]) -> Fault | None:
    """None when the check passes in time."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check
    except TimeoutError:
        return Fault(where, f"no answer in {CHECK_TIMEOUT_S:g} s")
    except (OctaviaError, OSError) as error:
        return Fault(where, str(error) if isinstance(error, OctaviaError) else "no connection")
    return None


health_router = Router("", route_handlers=[livez, readyz], tags=["health"], opt={"public": True})
