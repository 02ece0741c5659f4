"""Deliverer: takes what is due out of the outbox and posts it; every message arrives at least once, or is given up.

Any number of processes may deliver: a delivery is taken for longer than an attempt lasts, and one whose process was
killed is due again after that, under the same `webhook-id`.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import structlog

from octavia_stream.config import OutboundSettings, WebhookSettings
from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.errors import AddressRefused, DependencyUnavailable
from octavia_stream.net.guarded_http import guarded_client
from octavia_stream.telemetry.metrics import WEBHOOK_ATTEMPTS
from octavia_stream.webhooks.endpoint import DueDelivery
from octavia_stream.webhooks.signature import signed_headers
from octavia_stream.webhooks.store import WebhookStore

POLL_S = 1.0
FORGET_S = 3600.0
TAKEN_S = 60.0
"""Longer than an attempt can last."""
AT_ONCE = 32
PER_ENDPOINT = 4
"""Attempts under way at once; an endpoint that does not answer must leave room for the others."""
GONE = 410
RETRIES_S = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)
"""Pauses between attempts, as Standard Webhooks proposes them: 28 hours in all."""
JITTER = 0.2
"""Pauses differ by up to this share, so that what failed together does not come back together."""
MAX_ERROR = 200

log = structlog.get_logger()


def pause_after(tries: int, jitter: Callable[[], float] = random.random) -> float | None:
    """How long to wait after so many attempts; None when that was the last. jitter: from 0 to 1."""
    if tries > len(RETRIES_S):
        return None
    return RETRIES_S[tries - 1] * (1 + JITTER * (2 * jitter() - 1))


class Deliverer:
    """Delivers until cancelled."""

    def __init__(
        self,
        store: WebhookStore,
        settings: WebhookSettings,
        outbound: OutboundSettings,
        now: Callable[[], float] = time.time,
    ) -> None:
        """now: seconds since 1970."""
        self._store = store
        self._settings = settings
        self._outbound = outbound
        self._now = now
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Look into the outbox again and again; attempts under way are cut when this is cancelled, and due again."""
        forgot = 0.0
        client = guarded_client(self._outbound, timeout_s=self._settings.timeout_s)
        async with client:
            try:
                while True:
                    try:
                        taken = await self._deliver_due(client)
                        if time.monotonic() - forgot > FORGET_S or not forgot:
                            forgot = time.monotonic()
                            await self._store.forget_old()
                    except DependencyUnavailable:
                        taken = 0
                    if not taken:
                        await asyncio.sleep(POLL_S)
            finally:
                for task in self._running:
                    task.cancel()
                await asyncio.gather(*self._running, return_exceptions=True)

    async def _deliver_due(self, client: httpx.AsyncClient) -> int:
        """Start what is due; returns how many attempts."""
        if len(self._running) >= AT_ONCE:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        due = await self._store.take(AT_ONCE - len(self._running), TAKEN_S, PER_ENDPOINT)
        for one in due:
            task = asyncio.create_task(self._attempt(client, one), name=f"webhook-{one.id}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return len(due)

    async def _attempt(self, client: httpx.AsyncClient, due: DueDelivery) -> None:
        """One attempt and its conclusion. Never raises except when cancelled."""
        status, error = await self._post(client, due)
        crash_point(CrashPoint.DELIVERY_POSTED)
        try:
            if error is None and status is not None:
                await self._store.delivered(due.id, status)
                WEBHOOK_ATTEMPTS.labels("delivered").inc()
                return
            reason = (error or f"The answer was HTTP {status}.")[:MAX_ERROR]
            WEBHOOK_ATTEMPTS.labels("failed").inc()
            log.info("webhook_failed", delivery_id=str(due.id), tries=due.tries, status=status)
            await self._store.failed(due, status, reason, pause_after(due.tries) if status != GONE else None)
            if status == GONE:
                await self._store.disable(due.endpoint_id, "The address answered that it is gone (410).")
        except DependencyUnavailable:
            # Nobody wrote down how it went: it is due again, and arrives twice rather than never.
            log.warning("webhook_not_concluded", delivery_id=str(due.id))

    async def _post(self, client: httpx.AsyncClient, due: DueDelivery) -> tuple[int | None, str | None]:
        """Status, and what went wrong. A redirect is a failure: the address is the one that was given."""
        body = bytes(due.payload)
        headers = signed_headers(due.secrets, due.message_id, int(self._now()), body)
        headers["Content-Type"] = "application/json"
        try:
            async with (
                asyncio.timeout(self._settings.timeout_s),
                client.stream("POST", due.url, content=body, headers=headers) as answer,
            ):
                # What it says is not read: it may be endless.
                return answer.status_code, None if answer.is_success else f"The answer was HTTP {answer.status_code}."
        except TimeoutError:
            return None, f"There was no answer within {self._settings.timeout_s:.0f} s."
        except AddressRefused as error:
            return None, str(error)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return None, f"The address could not be reached ({type(error).__name__})."


@asynccontextmanager
async def delivering(store: WebhookStore, settings: WebhookSettings, outbound: OutboundSettings) -> AsyncIterator[None]:
    """A deliverer at work in the background."""
    task = asyncio.create_task(Deliverer(store, settings, outbound).run(), name="webhooks")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
