"""The api and workers as processes of their own, which a test may kill and start again in a fraction of a second.

They are forked from a process that has imported everything, so that a life costs no imports.
"""

import asyncio
import gc
import multiprocessing
import signal
import socket
import threading
from multiprocessing.connection import Connection
from typing import Any

from api.app import create_app
from api.main import ApiServer, uvicorn_config
from octavia_stream.config import Settings
from octavia_stream.crash_points import CrashPoint, arm
from octavia_stream.dubbing.engines import local
from octavia_stream.instant.answering import CallServer
from octavia_stream.jobs.every_kind import EveryKind
from octavia_stream.jobs.worker import JobWorker
from octavia_stream.models.registry import Registry
from octavia_stream.runtime import open_runtime
from octavia_stream.scheduling.share import alike
from octavia_stream.testing import ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator
from octavia_stream.webhooks import deliverer

GUARD_S = 60.0
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(["__main__", __name__])


class Life:
    """One process, from its start to its death."""

    def __init__(self, target: Any, *arguments: Any) -> None:
        self._orders, orders = _FORKED.Pipe()
        self._process = _FORKED.Process(target=target, args=(orders, *arguments), daemon=True)
        self._process.start()
        orders.close()

    async def arm(self, point: CrashPoint) -> None:
        """From now on it dies at this place."""
        self._orders.send(point)
        assert await asyncio.to_thread(self._orders.poll, GUARD_S)
        assert self._orders.recv() is point

    async def killed(self) -> None:
        """Return when it has killed itself."""
        await self._ended()
        assert self._process.exitcode == -signal.SIGKILL, f"it ended with {self._process.exitcode}"

    async def stopped(self) -> None:
        """Ask it to stop; returns when it has."""
        if self._process.is_alive():
            self._process.terminate()
        await self._ended()

    def terminate(self) -> None:
        """Ask it to stop."""
        self._process.terminate()

    async def _ended(self) -> None:
        await asyncio.to_thread(self._process.join, GUARD_S)
        assert self._process.exitcode is not None, "it lives on"


def api_life(settings: Settings, listening: socket.socket) -> Life:
    """The api on a socket that outlives it: whoever connects while none lives waits for the next."""
    return Life(_serve, settings, listening)


def worker_life(settings: Settings, pause_s: float = 0.0) -> Life:
    """A worker with scripted engines, each call of which takes `pause_s`."""
    return Life(_work, settings, pause_s)


def answering_life(settings: Settings) -> Life:
    """Who answers calls, with scripted engines, and does no jobs."""
    return Life(_answer, settings)


def _serve(orders: Connection, settings: Settings, listening: socket.socket) -> None:
    _obey(orders)
    deliverer.POLL_S = 0.05
    app = create_app(settings)
    ApiServer(uvicorn_config(app, settings.api), app).run(sockets=[listening])


def _work(orders: Connection, settings: Settings, pause_s: float) -> None:
    _obey(orders)
    asyncio.run(_work_until_told(settings, pause_s))


def _answer(orders: Connection, settings: Settings) -> None:
    _obey(orders)
    asyncio.run(_answer_until_told(settings))


async def _answer_until_told(settings: Settings) -> None:
    engines = local(ScriptedTranscriber(), ScriptedTranslator(), ScriptedSynthesizer())
    async with open_runtime(settings) as runtime:
        server = CallServer(runtime, alike(engines), Registry(settings.models, settings.home))
        answering = asyncio.create_task(server.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, answering.cancel)
        await asyncio.gather(answering, return_exceptions=True)


async def _work_until_told(settings: Settings, pause_s: float) -> None:
    engines = local(ScriptedTranscriber(pause_s), ScriptedTranslator(pause_s), ScriptedSynthesizer(pause_s))
    async with open_runtime(settings) as runtime:
        worker = JobWorker(
            runtime, EveryKind(runtime, lambda _: engines, Registry(settings.models, settings.home)), "a life"
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.drain)
        await worker.run()


def _obey(orders: Connection) -> None:
    # What was inherited is never garbage; looking through it again and again would copy it page by page.
    gc.freeze()
    threading.Thread(target=_arm_as_told, args=(orders,), daemon=True).start()


def _arm_as_told(orders: Connection) -> None:
    while True:
        try:
            point = orders.recv()
        except (EOFError, OSError):
            return
        arm(point)
        orders.send(point)
