"""Fixtures for every room: one Postgres and one Valkey per session, a fresh database per module."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings as property_settings
from xdist.scheduler import LoadScopeScheduling

from octavia_stream.config import Settings
from octavia_stream.database.migrate import migrate
from octavia_stream.database.pool import connect, create_database
from octavia_stream.runtime import Runtime, open_runtime
from octavia_stream.services.embedded import ServiceUrls, embedded_services

_TEMPLATE = "octavia_template"
_STACKS = frozenset({"acceptance", "deployments", "launcher"})
"""Folders whose tests start Ray."""

# A loaded machine is no defect, so nothing has a deadline; and each run tries other examples, in CI too.
property_settings.register_profile("everywhere", deadline=None, derandomize=False, max_examples=50)
# For a long look: pytest --hypothesis-profile=thorough
property_settings.register_profile("thorough", deadline=None, derandomize=False, max_examples=2000)
property_settings.load_profile("everywhere")


class WholeModules(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """For several test processes: a module stays whole, for its fixtures are its own, and one process has everything
    that starts a whole stack, for two of them would starve each other.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return "stacks" if module.split("/")[1] in _STACKS else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> WholeModules:
    """Used with `--numprocesses`."""
    return WholeModules(config, log)


@pytest.fixture(scope="session")
def service_home() -> Iterator[Path]:
    """Home of the services. Not pytest's own temporary directory: that is closed to the user Postgres runs as."""
    home = Path(tempfile.mkdtemp(prefix="octavia-test-"))
    home.chmod(0o755)
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
async def service_urls(service_home: Path) -> AsyncIterator[ServiceUrls]:
    """The embedded services, for the whole session. Their database `octavia` is migrated."""
    settings = Settings(home=service_home, database_url=None, redis_url=None)
    async with embedded_services(settings) as urls:
        async with connect(urls.database_url) as connection:
            # Making a database costs a second of waiting for the disk otherwise; no test cuts the power.
            await connection.execute("alter system set fsync = off")
            await connection.execute("select pg_reload_conf()")
        await create_database(urls.database_url, _TEMPLATE)
        await migrate(_database(urls, _TEMPLATE))
        await migrate(urls.database_url)
        yield urls


@pytest.fixture(scope="module")
async def database_url(service_urls: ServiceUrls) -> str:
    """A migrated, empty database of the module's own. It goes with its server."""
    name = f"test_{uuid4().hex}"
    await create_database(service_urls.database_url, name, template=_TEMPLATE)
    return _database(service_urls, name)


@pytest.fixture(scope="session")
def redis_url(service_urls: ServiceUrls) -> str:
    """The session's Valkey, shared: keys hold ids that do not repeat."""
    return service_urls.redis_url


@pytest.fixture(scope="module")
def settings(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a server with a home, a database and a storage of the module's own."""
    home = tmp_path_factory.mktemp("home")
    # All tests come from one address, and the counts outlive a module: tests of limits set their own.
    limits: dict[str, object] = {
        "log_in_attempts_per_address": 100_000,
        "sign_ups_per_address": 100_000,
        "log_in_attempts": 1000,
    }
    limits |= {"password_resets_per_address": 100_000, "requests_per_address": 0}
    limits["standard"] = {"reads_per_minute": 0, "writes_per_minute": 0, "uploads_per_minute": 0}
    return Settings.model_validate(
        {"home": home, "database_url": database_url, "redis_url": redis_url, "limits": limits}
    )


@pytest.fixture(scope="module")
async def runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """All stores, on real services."""
    async with open_runtime(settings) as opened:
        yield opened


def _database(urls: ServiceUrls, name: str) -> str:
    return urls.database_url.replace("/octavia?", f"/{name}?")
