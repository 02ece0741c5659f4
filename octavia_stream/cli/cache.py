"""`octavia cache`: what is kept of the work of earlier jobs, and letting it go."""

import asyncio
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from octavia_stream.cache.shelf import Shelf, ShelfPart
from octavia_stream.config import Settings
from octavia_stream.database.pool import Database
from octavia_stream.runtime import open_objects
from octavia_stream.services.postgres import EmbeddedPostgres

cache_app = App(help="What is kept of the work of earlier jobs.")


@cache_app.command(name="show")
def show_cache(*, as_json: Annotated[bool, Parameter(name=["--json"], negative="")] = False) -> int:
    """Show how much is kept of each stage, and since when the longest unused lies there.

    Looks at the database of DATABASE_URL, or at the one of the server that runs here.

    Parameters
    ----------
    as_json
        Print it as JSON.
    """
    settings = Settings()
    parts = asyncio.run(_contents(settings))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(parts), indent=2).decode())  # noqa: T201  (the result itself)
        return 0
    table = Table("stage", "results", "bytes", "longest unused")
    for part in parts:
        table.add_row(part.stage, str(part.results), str(part.bytes), f"{part.longest_unused:%Y-%m-%d %H:%M}")
    console = Console()
    console.print(table)
    whose = "everybody has everybody's" if settings.cache.shared else "each owner has their own"
    taken = sum(part.bytes for part in parts)
    console.print(f"{taken} of at most {settings.cache.limit_bytes} bytes; {whose}.", highlight=False)
    return 0


@cache_app.command(name="clear")
def clear_cache() -> int:
    """Let go of everything that is kept, also while the server runs: later jobs do their work anew."""
    freed = asyncio.run(_clear(Settings()))
    Console().print(f"Let go of {freed} bytes.", highlight=False)
    return 0


async def _contents(settings: Settings) -> list[ShelfPart]:
    async with Database(_url(settings)) as database:
        return await Shelf(database, open_objects(settings)).contents()


async def _clear(settings: Settings) -> int:
    async with Database(_url(settings)) as database:
        return await Shelf(database, open_objects(settings)).evict(0)


def _url(settings: Settings) -> str:
    given = settings.database_url
    return given.get_secret_value() if given is not None else EmbeddedPostgres(settings.home).url
