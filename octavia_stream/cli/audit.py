"""`octavia audit`: one number for each thing that must always hold."""

import asyncio
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from octavia_stream.audit.invariants import Audit, audit, remove_orphans
from octavia_stream.config import Settings
from octavia_stream.database.pool import Database
from octavia_stream.runtime import open_objects
from octavia_stream.services.postgres import EmbeddedPostgres


def show_audit(
    *,
    as_json: Annotated[bool, Parameter(name=["--json"], negative="")] = False,
    repair: Annotated[bool, Parameter(negative="")] = False,
    quick: Annotated[bool, Parameter(negative="")] = False,
    deadline_s: float = 86_400.0,
    grace_s: float = 3600.0,
) -> int:
    """Count everything that must not be: lost jobs, damaged results, wrong balances, leftovers.

    Looks at the database of DATABASE_URL, or at the one of the server that runs here. Exits with 1 when any number
    is not 0.

    Parameters
    ----------
    as_json
        Print the numbers as JSON.
    repair
        First remove files that belong to nothing and are older than a day. Nothing else is ever changed.
    quick
        Compare the sizes of stored files without reading them.
    deadline_s
        How long an accepted job may wait for a worker, and a message for somebody who tells it, in seconds.
    grace_s
        How old something without an owner must be to count as left over, in seconds.
    """
    settings = Settings()
    found = asyncio.run(_audit(settings, repair=repair, content=not quick, deadline_s=deadline_s, grace_s=grace_s))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())  # noqa: T201  (the result itself)
    else:
        Console().print(_table(found))
    return 0 if found.clean else 1


async def _audit(settings: Settings, *, repair: bool, content: bool, deadline_s: float, grace_s: float) -> Audit:
    given = settings.database_url
    url = given.get_secret_value() if given is not None else EmbeddedPostgres(settings.home).url
    objects = open_objects(settings)
    async with Database(url) as database:
        if repair:
            count, freed = await remove_orphans(database, objects)
            Console(stderr=True).print(f"Removed {count} files that belonged to nothing, {freed} bytes.")
        return await audit(database, objects, settings.home, deadline_s=deadline_s, grace_s=grace_s, content=content)


def _table(found: Audit) -> Table:
    table = Table("invariant", "name", "count", "what is counted")
    for breach in found.breaches:
        style = "bold red" if breach.count else "green"
        table.add_row(breach.invariant, breach.name, f"[{style}]{breach.count}[/]", breach.meaning)
    return table
