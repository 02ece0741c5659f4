"""`octavia admin`: who may administer. This is how the first administrator comes to be; signing up makes none."""

import asyncio
from typing import Literal

from cyclopts import App
from rich.console import Console
from rich.table import Table

from octavia_stream.admin.acts import COMMAND_LINE, Actor
from octavia_stream.admin.users import User, UserDirectory
from octavia_stream.config import Settings
from octavia_stream.database.pool import Database
from octavia_stream.quotas.quotas import Quotas
from octavia_stream.services.postgres import EmbeddedPostgres

admin_app = App(name="admin", help="Who may administer the server.")
SOMEBODY_HERE = Actor(None, COMMAND_LINE)


@admin_app.command
def grant(email: str, *, reason: str = "Granted on the command line.") -> int:
    """Make an account an administrator, in the database of DATABASE_URL or of the server that runs here.

    Parameters
    ----------
    email
        The account's address; it must have signed up.
    reason
        Why; it is written down with the act.
    """
    asyncio.run(_change("grant", email, reason))
    Console().print(f"{email} is an administrator now.", highlight=False)
    return 0


@admin_app.command
def revoke(email: str, *, reason: str = "Revoked on the command line.") -> int:
    """Make an administrator an ordinary user again.

    Parameters
    ----------
    email
        The account's address.
    reason
        Why; it is written down with the act.
    """
    asyncio.run(_change("revoke", email, reason))
    Console().print(f"{email} is no administrator any more.", highlight=False)
    return 0


@admin_app.command
def tier(owner: str, name: str, *, reason: str = "Set on the command line.") -> int:
    """Give an account or a team another tier, and with it other limits.

    Parameters
    ----------
    owner
        The account's address, or the team's id.
    name
        `standard`, or one of OCTAVIA_LIMITS__TIERS, which must be set here as it is for the server.
    reason
        Why; it is written down with the act.
    """
    asyncio.run(_set_tier(owner, name, reason))
    Console().print(f"{owner} has the tier {name} now.", highlight=False)
    return 0


@admin_app.command(name="list")
def list_admins() -> int:
    """Show who is an administrator."""
    table = Table("e-mail", "signed up", "last seen")
    for user in asyncio.run(_admins()):
        seen = f"{user.last_seen_at:%Y-%m-%d %H:%M}" if user.last_seen_at is not None else ""
        table.add_row(user.email, f"{user.created_at:%Y-%m-%d}", seen)
    Console().print(table)
    return 0


async def _change(what: Literal["grant", "revoke"], email: str, reason: str) -> None:
    async with Database(_url()) as database:
        users = UserDirectory(database)
        change = users.grant_admin if what == "grant" else users.revoke_admin
        await change(SOMEBODY_HERE, email, reason)


async def _set_tier(owner: str, name: str, reason: str) -> None:
    async with Database(_url()) as database:
        quotas = Quotas(Settings().limits)
        await UserDirectory(database).set_tier(SOMEBODY_HERE, owner, name, reason, quotas)


async def _admins() -> list[User]:
    async with Database(_url()) as database:
        return await UserDirectory(database).list_users(1000, role="admin")


def _url() -> str:
    settings = Settings()
    given = settings.database_url
    return given.get_secret_value() if given is not None else EmbeddedPostgres(settings.home).url
