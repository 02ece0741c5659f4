"""The whole server on one machine: services, a Ray node, the model servers, the api.

Each is a process of its own, so that any of them may die and come back alone. The order is the one in
which they need each other; what does not wait for anything starts at once.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx
from pydantic import SecretStr
from rich.console import Console

from octavia_stream.config import ServeSettings, Settings
from octavia_stream.database.migrate import migrate
from octavia_stream.errors import Conflict, DependencyUnavailable, EngineUnavailable, ModelMissing, OctaviaError
from octavia_stream.launcher.child import Child
from octavia_stream.launcher.environment import environment_of, foreign_environment
from octavia_stream.launcher.home import (
    HomeLock,
    announce,
    drain_request,
    find_stack,
    live_drain_request,
    ray_directory,
    ray_token,
    withdraw,
)
from octavia_stream.launcher.ports import LOOPBACK, free_ports, is_free
from octavia_stream.launcher.ray_node import cpus_needed, ray_arguments, ray_environment
from octavia_stream.launcher.report import Report
from octavia_stream.models.registry import Registry
from octavia_stream.services.child import kept_running
from octavia_stream.services.postgres import EmbeddedPostgres
from octavia_stream.services.valkey import EmbeddedValkey

START_DEADLINE_S = 420.0
"""The first start may convert and check models on a slow disk."""
DRAIN_DEADLINE_S = 5.0
LIVE_DRAIN_DEADLINE_S = 2.0
"""What live sessions lose without it is the state of their last two seconds."""
API_DEADLINE_S = 60.0
API_GRACE_S = 12.0
"""Just above what the api gives to answers under way."""
POLL_S = 0.1
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 15.0
STEADY_S = 60.0
"""Who lived this long and dies is no crash loop: the pause starts anew."""
ANY_HOST = ("0.0.0.0", "::")  # noqa: S104  (compared with, not bound to)


class Stack:
    """One stack for one home. Use it on the main thread's loop: its processes die with that thread."""

    def __init__(self, settings: Settings, console: Console | None = None) -> None:
        """console: where to tell what is waited for; None tells nobody."""
        self._settings = settings
        self._report = Report(console)
        self._logs = settings.home / "logs"
        self._lock = HomeLock(settings.home)
        self._services = AsyncExitStack()
        self._postgres: EmbeddedPostgres | None = None
        self._valkey: EmbeddedValkey | None = None
        self._children: dict[str, Child] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._ended = asyncio.Event()
        self._environment: dict[str, str] = {}
        self._ray_port: int | None = None
        self._deployed = False

    @property
    def settings(self) -> Settings:
        """As given, with the port that was chosen."""
        return self._settings

    @property
    def services_settings(self) -> Settings:
        """The settings with the URLs of the services that were started."""
        settings = self._settings
        database = SecretStr(self._postgres.url) if self._postgres else settings.database_url
        redis = SecretStr(self._valkey.url) if self._valkey else settings.redis_url
        return settings.model_copy(update={"database_url": database, "redis_url": redis})

    @property
    def api_url(self) -> str:
        """Where the api answers, once started."""
        api = self._settings.api
        return f"http://{LOOPBACK if api.host in ANY_HOST else api.host}:{api.port}"

    def pids(self) -> dict[str, int]:
        """Running processes by name: `api`, `ray`, `postgres`, `valkey`."""
        found = {name: child.pid for name, child in self._children.items() if child.exit_code is None}
        for name, service in (("postgres", self._postgres), ("valkey", self._valkey)):
            pid = service.pid if service is not None else None
            if pid is not None:
                found[name] = pid
        return found

    async def start(self) -> str:
        """Bring everything up; returns the api's URL when requests can be served.

        Raises Conflict when a stack runs on this home or its port is taken, and what else kept it from starting;
        then everything is down again.
        """
        self._lock.take()
        drain_request(self._settings.home).unlink(missing_ok=True)
        live_drain_request(self._settings.home).unlink(missing_ok=True)
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                await self._bring_up()
        except TimeoutError as error:
            await self.stop()
            raise EngineUnavailable(f"The server was not ready within {START_DEADLINE_S:.0f} s.") from error
        except BaseException:
            await self.stop()
            raise
        announce(self._settings.home, self.api_url)
        return self.api_url

    async def wait(self) -> None:
        """Until `stop`; what dies meanwhile is started again."""
        await self._ended.wait()

    async def stop(self) -> None:
        """Take everything down, in reverse. May be called twice."""
        if not self._lock.held:
            return
        withdraw(self._settings.home)
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        self._watchers.clear()
        with self._report.step("Stopping", "done"):
            await asyncio.gather(self._stop_child("deploy", grace_s=0), self._stop_child("api"), self._drain())
            # Nothing in Ray is worth saving: Postgres holds the truth.
            await self._stop_child("ray", grace_s=0)
            await self._services.aclose()
        self._lock.give_back()
        self._ended.set()

    async def _drain(self) -> None:
        """Have running jobs given back, so that the next start goes on with them at once."""
        ray = self._children.get("ray")
        if ray is None or ray.exit_code is not None or not self._deployed:
            return
        waits = [_obeyed(drain_request, self._settings, DRAIN_DEADLINE_S)]
        if self._settings.live.enabled:
            waits.append(_obeyed(live_drain_request, self._settings, LIVE_DRAIN_DEADLINE_S))
        await asyncio.gather(*waits)

    async def _bring_up(self) -> None:
        self._choose_port()
        self._require_models()
        settings = self._settings
        try:
            async with asyncio.TaskGroup() as group:
                cluster = group.create_task(self._start_ray())
                await self._start_services()
                self._environment = environment_of(self.services_settings)
                api = group.create_task(self._start_api())
                await cluster
                group.create_task(self._deploy())
                await api
        except BaseExceptionGroup as errors:
            raise _decisive(errors) from errors
        self._watch("api", self._start_api)
        if settings.serve.ray_address is None:
            self._watch("ray", self._restart_ray)

    def _choose_port(self) -> None:
        api = self._settings.api
        if api.port == 0:
            [port] = free_ports(1)
            self._settings = self._settings.model_copy(update={"api": api.model_copy(update={"port": port})})
        elif not is_free(api.host, api.port):
            raise Conflict(f"Port {api.port} is taken by another program; set OCTAVIA_API__PORT to a free one.")

    def _require_models(self) -> None:
        """A model that is not there is said at once, and not in a minute by a replica."""
        models, serve = self._settings.models, self._settings.serve
        if serve.engines != ServeSettings().engines or serve.ray_address is not None or not models.offline:
            return
        registry = Registry(models, self._settings.home)
        found = registry.availability(registry.catalogue.model(models.asr))
        if found.source is None:
            raise ModelMissing(found.reason)

    async def _start_services(self) -> None:
        """Postgres and Valkey, unless the settings name servers; then the schema."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_valkey())
            await self._start_postgres()
        with self._report.step("Database schema", "up to date"):
            url = self.services_settings.database_url
            if url is not None:
                await migrate(url.get_secret_value())

    async def _start_postgres(self) -> None:
        if self._settings.database_url is None:
            with self._report.step("Postgres"):
                self._postgres = EmbeddedPostgres(self._settings.home)
                await self._services.enter_async_context(kept_running(self._postgres))

    async def _start_valkey(self) -> None:
        if self._settings.redis_url is None:
            with self._report.step("Valkey"):
                self._valkey = EmbeddedValkey(self._settings.home)
                await self._services.enter_async_context(kept_running(self._valkey))

    async def _start_ray(self) -> None:
        """A node of our own, unless the settings name a cluster; it is up when its port answers."""
        serve = self._settings.serve
        if serve.ray_address is not None:
            return
        [self._ray_port] = free_ports(1)
        home = self._settings.home
        directory = await asyncio.to_thread(ray_directory, home)
        arguments = ray_arguments(directory, self._ray_port, cpus_needed(serve, self._settings.live))
        # Replicas get their settings with the application, so the node needs no secret of ours.
        environment = ray_environment(foreign_environment(), ray_token(home), self._threads)
        await self._start_child("ray", arguments, environment, signal.SIGTERM)

    async def _deploy(self) -> None:
        """The application on the cluster, by a process that ends when the application runs."""
        settings = self.services_settings
        environment = environment_of(settings)
        if self._ray_port is not None:
            address = f"{LOOPBACK}:{self._ray_port}"
            joined = settings.serve.model_copy(update={"ray_address": address})
            environment = environment_of(settings.model_copy(update={"serve": joined}))
            environment = ray_environment(environment, ray_token(settings.home), self._threads)
        with self._report.step("Model servers"):
            child = await self._start_child("deploy", [sys.executable, "-m", "deployments.deploy"], environment)
            if await self._outcome(child) != 0:
                raise EngineUnavailable(self._reason(child))
        self._deployed = True

    async def _outcome(self, child: Child) -> int:
        """Its exit code; a Ray node that dies meanwhile ends the wait for what would happen on it."""
        node = self._children.get("ray")
        if node is None:
            return await child.wait()
        ends = [asyncio.create_task(child.wait()), asyncio.create_task(node.wait())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        if child.exit_code is None:
            raise EngineUnavailable(self._reason(node))
        return child.exit_code

    async def _restart_ray(self) -> None:
        await self._start_ray()
        await self._deploy()

    @property
    def _threads(self) -> int:
        return self._settings.models.threads

    async def _start_api(self) -> None:
        """The api, ready to serve requests."""
        with self._report.step("API"):
            child = await self._start_child("api", [sys.executable, "-m", "api.main"], self._environment)
            try:
                async with asyncio.timeout(API_DEADLINE_S), httpx.AsyncClient(timeout=2.0) as client:
                    while not await _is_ready(client, f"{self.api_url}/readyz"):
                        if child.exit_code is not None:
                            raise DependencyUnavailable(self._reason(child))
                        await asyncio.sleep(POLL_S)
            except TimeoutError as error:
                raise DependencyUnavailable(f"The api was not ready within {API_DEADLINE_S:.0f} s.") from error

    async def _start_child(
        self,
        name: str,
        arguments: list[str],
        environment: Mapping[str, str],
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> Child:
        child = await Child.start(name, arguments, environment, self._logs / f"{name}.log", death_signal)
        self._children[name] = child
        return child

    async def _stop_child(self, name: str, grace_s: float = API_GRACE_S) -> None:
        child = self._children.pop(name, None)
        if child is not None:
            await child.stop(grace_s)

    def _reason(self, child: Child) -> str:
        """Why a child ended, in one sentence; the end of its log goes to the console."""
        words = child.last_words()
        self._report.log_tail(child.name, words)
        last = next((line.strip() for line in reversed(words) if line.strip()), "")
        return last or f"The process '{child.name}' ended at once (exit code {child.exit_code})."

    def _watch(self, name: str, start: Callable[[], Awaitable[None]]) -> None:
        self._watchers.append(asyncio.create_task(self._keep_up(name, start), name=f"watch {name}"))

    async def _keep_up(self, name: str, start: Callable[[], Awaitable[None]]) -> None:
        """Start a child again whenever it ends, more and more slowly while that does not help."""
        clock = asyncio.get_running_loop().time
        pause = FIRST_PAUSE_S
        while True:
            started_at = clock()
            if name in self._children:
                code = await self._children[name].wait()
                self._report.note(f"{name} ended (exit code {code}); starting it again.")
            if clock() - started_at > STEADY_S:
                pause = FIRST_PAUSE_S
            await self._stop_child(name, grace_s=0)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
            try:
                await start()
            except (OctaviaError, OSError) as error:
                # A full disk, no process left: what passes by itself must not end the watch.
                self._report.note(f"{name} did not start: {error}")
                # What runs without being of use would otherwise be waited for.
                await self._stop_child(name, grace_s=0)


async def running_server(settings: Settings) -> str | None:
    """The URL of the stack that serves this home, or None."""
    stack = await asyncio.to_thread(find_stack, settings.home)
    return None if stack is None else stack.api_url


async def _is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        answer = await client.get(url)
    except httpx.HTTPError:
        return False
    return answer.is_success


async def _obeyed(place: Callable[[Path], Path], settings: Settings, deadline_s: float) -> None:
    """Make a request and wait until it is gone, or long enough."""
    request = place(settings.home)
    request.touch()
    with suppress(TimeoutError):
        async with asyncio.timeout(deadline_s):
            while request.exists():  # noqa: ASYNC110  (the other side is another process)
                await asyncio.sleep(POLL_S)
    request.unlink(missing_ok=True)


def _decisive(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """One sentence is enough: what fails later mostly fails for the same reason."""
    ours = errors.subgroup(OctaviaError)
    error: BaseException = errors if ours is None else ours
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
