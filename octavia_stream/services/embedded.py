"""Both services for as long as a launcher runs."""

import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from octavia_stream.config import Settings
from octavia_stream.errors import Conflict
from octavia_stream.services.child import kept_running
from octavia_stream.services.postgres import EmbeddedPostgres
from octavia_stream.services.valkey import EmbeddedValkey


@dataclass(frozen=True, slots=True)
class ServiceUrls:
    """Where the services are, for this and any other process on the machine."""

    database_url: str
    redis_url: str

    def environment(self) -> dict[str, str]:
        """For child processes."""
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}

    def settings(self, settings: Settings) -> Settings:
        """The same settings with these URLs."""
        urls = {"database_url": SecretStr(self.database_url), "redis_url": SecretStr(self.redis_url)}
        return settings.model_copy(update=urls)


@asynccontextmanager
async def embedded_services(settings: Settings) -> AsyncIterator[ServiceUrls]:
    """Start whichever service the settings give no URL for; yields both URLs, and stops what it started.

    While in the block, a service that dies is started again under the same URL; if this process dies, so do
    they. Call it on the main thread's loop. Raises DependencyUnavailable, and Conflict when another launcher
    uses the same home. Migrations are the caller's business.
    """
    async with AsyncExitStack() as stack:
        if settings.database_url is None or settings.redis_url is None:
            stack.enter_context(_only_launcher(settings.home))
        if settings.redis_url is None:
            redis_url = await stack.enter_async_context(kept_running(EmbeddedValkey(settings.home)))
        else:
            redis_url = settings.redis_url.get_secret_value()
        if settings.database_url is None:
            database_url = await stack.enter_async_context(kept_running(EmbeddedPostgres(settings.home)))
        else:
            database_url = settings.database_url.get_secret_value()
        yield ServiceUrls(database_url, redis_url)


@contextmanager
def _only_launcher(home: Path) -> Iterator[None]:
    """The lock goes with the process, however that ends."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "services.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                "Another octavia-stream server uses OCTAVIA_HOME; stop it first, or set OCTAVIA_HOME to another place."
            ) from None
        yield
