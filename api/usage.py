"""What somebody uses of this server, beside what it allows."""

from typing import Annotated

import msgspec
from litestar import Router, get

from api.auth import PROTECTED
from api.errors import problems
from api.identity import for_keys
from api.services import OwnerId, TheServices
from octavia_stream.quotas.quotas import WINDOW_DAYS
from octavia_stream.quotas.usage import QuotaName


class QuotaView(msgspec.Struct, frozen=True):
    """One bound."""

    name: QuotaName
    limit: int | None
    """None: there is no bound."""
    used: int
    left: int | None
    """None: as much as one likes."""


class UsageView(msgspec.Struct, frozen=True):
    """What is used now."""

    tier: str
    window_days: Annotated[int, msgspec.Meta(description="Sound is counted over this many days back.")]
    quotas: list[QuotaView]


@get("/usage", operation_id="getUsage", summary="What I use", opt=for_keys("jobs:read"), responses=problems(401))
async def get_usage(owner_id: OwnerId, services: TheServices) -> UsageView:
    """Jobs at a time, open uploads, storage and sound, each with its limit."""
    usage = await services.runtime.quotas.usage(services.runtime.pool, owner_id)
    quotas = [QuotaView(one.name, one.limit, one.used, one.left) for one in usage.quotas]
    return UsageView(usage.tier, WINDOW_DAYS, quotas)


usage_router = Router("/me", route_handlers=[get_usage], security=PROTECTED, tags=["account"])
