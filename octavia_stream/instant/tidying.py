"""What killed processes leave of calls goes by itself: recordings nobody waits for, holds and sound past their time."""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from octavia_stream.billing.credits import CreditStore
from octavia_stream.errors import OctaviaError
from octavia_stream.instant.charges import CallCharges
from octavia_stream.storage.objects import ObjectStore

INTERVAL_S = 60.0
PREFIX = "calls"
"""Where recordings of calls lie."""

log = structlog.get_logger()


async def tidy(credits: CreditStore, charges: CallCharges, objects: ObjectStore, older_than: timedelta) -> int:
    """Once; returns how many holds, calls and recordings went. Raises DependencyUnavailable, StorageUnavailable."""
    gone = await credits.expire_due() + await charges.settle_lost()
    limit = datetime.now(UTC) - older_than
    old = [listed.key async for listed in objects.list(PREFIX) if listed.modified < limit]
    for key in old:
        await objects.delete(key)
    return gone + len(old)


async def keep_tidy(credits: CreditStore, charges: CallCharges, objects: ObjectStore, older_than: timedelta) -> None:
    """Again and again, until cancelled. older_than: no call takes so long."""
    while True:
        try:
            await tidy(credits, charges, objects, older_than)
        except OctaviaError as error:
            log.warning("tidying_failed", reason=str(error))
        await asyncio.sleep(INTERVAL_S)
