"""The threads of a replica in which its engine works, and what the replica knows about its health."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Generic, TypeVar

from octavia_stream.config import Settings
from octavia_stream.errors import EngineUnavailable, OctaviaError
from octavia_stream.telemetry.metrics import ENGINE, ENGINE_FAILURES

log = logging.getLogger("ray.serve")
"""Serve's own logger: its lines, plain tracebacks included, lie with the replica's other lines."""

E = TypeVar("E")
R = TypeVar("R")

STAGES = {"asr": "transcribe", "mt": "translate", "tts": "synthesize"}
"""What metrics call the work of an engine."""
MOST_FAILURES_IN_A_ROW = 3
"""An engine that breaks this often in a row is beyond help: a GPU out of memory rarely recovers."""


def load_engine(settings: Settings, factory: str) -> object:
    """Call a function of the module that `settings.serve.engines` names.

    The thread limits go into the environment first: OpenMP reads them when the engine's library is
    loaded, and threads that compete with neighbours burn 2 to 7 times the CPU.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(settings.models.threads)
    make: Callable[[Settings], object] = getattr(import_module(settings.serve.engines), factory)
    return make(settings)


class EngineThreads(Generic[E]):
    """Runs calls of one engine, so many at a time, off the event loop."""

    def __init__(self, engine: E, name: str, stuck_after_s: float, threads: int = 1) -> None:
        """threads: more than one only for an engine that may be called from several."""
        self._engine = engine
        self._name = name
        self._stage = STAGES.get(name, name)
        self._threads = ThreadPoolExecutor(threads, name)
        self._stuck_after_s = stuck_after_s
        self._busy_since: dict[int, float] = {}
        """By thread."""
        self._failures = 0

    async def run(self, call: Callable[[E], R]) -> R:
        """Wait for the engine's turn and its answer; cancelled while waiting, the call is never made.

        Raises what the engine raises on purpose, and EngineUnavailable for whatever else comes out of it.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._timed, call)

    def check(self) -> None:
        """Raises EngineUnavailable when the engine hangs or keeps breaking: the replica should be replaced."""
        # A copy: the threads come and go meanwhile.
        began = min(self._busy_since.copy().values(), default=None)
        if began is not None and time.monotonic() - began > self._stuck_after_s:
            raise EngineUnavailable(f"The engine has worked on one call for over {self._stuck_after_s:.0f} s.")
        if self._failures >= MOST_FAILURES_IN_A_ROW:
            raise EngineUnavailable(f"The engine broke {self._failures} times in a row.")

    def _timed(self, call: Callable[[E], R]) -> R:
        self._busy_since[threading.get_ident()] = time.monotonic()
        try:
            with ENGINE.labels(self._stage).time():
                answer = call(self._engine)
        except OctaviaError:
            # A refusal on purpose: the engine is well.
            self._failures = 0
            raise
        except Exception as error:
            # A model library may raise anything; the caller's answer to all of it is to try again elsewhere.
            self._failures += 1
            ENGINE_FAILURES.labels(self._stage).inc()
            log.exception("The %s engine broke.", self._name)
            raise EngineUnavailable(f"The {self._name} engine broke on this call.") from error
        finally:
            del self._busy_since[threading.get_ident()]
        self._failures = 0
        return answer
