"""Alive, and ready: for whoever decides to restart this process or to send it requests."""

import asyncio
from collections.abc import Awaitable
from typing import Literal

import msgspec
from litestar import Router, get

from api.errors import Fault, NotReady, problems
from api.services import Services, TheServices
from api.throttling import RATE_OPT, UNCOUNTED
from octavia_stream.errors import DependencyUnavailable, OctaviaError
from octavia_stream.runtime import Runtime
from octavia_stream.telemetry.process_card import present

CHECK_TIMEOUT_S = 2.0
LATE_S = 300.0
"""A job that waits longer than this while workers are there is worth a look."""
LITTLE_SPACE_BYTES = 2 * 1024**3
NEEDED = frozenset({"postgres", "storage"})
"""Without these no request can be served; without the others some can."""


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether requests can be served, and what is not as it should be; what is worse is a problem."""

    status: Literal["ok", "ready", "degraded"]
    reasons: list[Fault] = []
    """What makes it `degraded`, a sentence each."""


@get("/livez", operation_id="livez", summary="Does the process answer", responses=problems())
async def livez() -> Health:
    """Says nothing about the services behind it: restarting this process would not help those."""
    return Health("ok")


@get("/readyz", operation_id="readyz", summary="Can requests be served", responses=problems())
async def readyz(services: TheServices) -> Health:
    """503 while Postgres or the storage does not answer within two seconds, with an entry in `errors` for each.

    `degraded` when most can be done still: without Redis nobody can log in and events come later; without a worker
    jobs are accepted and wait.
    """
    faults = await dependencies(services.runtime)
    if any(fault.where in NEEDED for fault in faults):
        raise NotReady(faults)
    if not faults:
        faults = await _complaints(services)
    return Health("degraded", faults) if faults else Health("ready")


async def dependencies(runtime: Runtime) -> list[Fault]:
    """Those services that do not answer in time, each with a sentence that holds no address and no secret."""
    faults = await asyncio.gather(
        _fault("postgres", "The database", runtime.pool.ping()),
        _fault("redis", "Redis", runtime.redis.ping()),
        _fault("storage", "The object storage", runtime.objects.exists("ready")),
    )
    return [fault for fault in faults if fault is not None]


async def _complaints(services: Services) -> list[Fault]:
    """What is not as it should be while everything answers."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            cards = await present(services.runtime.redis)
            queue, free = await services.state.queue(), await services.state.free_bytes()
    except (DependencyUnavailable, TimeoutError):
        return [Fault("server", "The state of the server could not be found out in time.")]
    found = []
    if not any(card.role == "worker" for card in cards):
        found.append(Fault("worker", "No job worker runs: jobs are accepted, and wait until one does."))
    elif queue.age_s > LATE_S:
        found.append(Fault("queue", f"The job that waits longest has waited {queue.age_s:.0f} s."))
    if free is not None and free < LITTLE_SPACE_BYTES:
        found.append(Fault("storage", f"The disk of the storage has {free // 1024**2} MiB left."))
    return found


async def _fault(where: str, name: str, check: Awaitable[object]) -> Fault | None:
    """None when the check passes in time."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check
    except TimeoutError:
        return Fault(where, f"{name} did not answer within {CHECK_TIMEOUT_S:g} s.")
    except (OctaviaError, OSError):
        return Fault(where, f"{name} cannot be reached.")
    return None


health_router = Router("", route_handlers=[livez, readyz], tags=["health"], opt={"public": True, RATE_OPT: UNCOUNTED})
