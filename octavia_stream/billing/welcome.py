"""The credits that a new account starts with."""

from uuid import UUID

from octavia_stream.accounts.store import Welcome
from octavia_stream.billing import ledger
from octavia_stream.config import BillingSettings
from octavia_stream.database.pool import Connection


def welcome_gift(settings: BillingSettings) -> Welcome | None:
    """Gives the free credits, once; None when there are none to give."""
    if not settings.enabled or not settings.free_credits:
        return None

    async def give(connection: Connection, account_id: UUID) -> None:
        key = f"welcome/{account_id}"
        await ledger.grant(connection, account_id, settings.free_credits, key=key, reason="Welcome.")

    return give
