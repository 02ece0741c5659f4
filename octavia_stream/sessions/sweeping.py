"""Live sessions that nobody will end are ended: those whose node died and that nobody took up, and those never used."""

import asyncio

import structlog

from octavia_stream.errors import OctaviaError
from octavia_stream.sessions.store import LiveSessionStore

INTERVAL_S = 5.0

log = structlog.get_logger()


async def keep_ended(store: LiveSessionStore) -> None:
    """Again and again, until cancelled. Any number of processes may do so."""
    while True:
        try:
            await store.end_lost()
        except OctaviaError as error:
            log.warning("live_sweep_failed", reason=str(error))
        await asyncio.sleep(INTERVAL_S)
