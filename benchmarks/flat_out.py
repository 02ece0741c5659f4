"""The lower bound: recorded calls made again in plain processes that do nothing else, one on each core."""

import multiprocessing
import os
import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier
from unittest.mock import patch

from benchmarks.calls import Call, Cost, EngineSet, cpu_s
from benchmarks.machine import cores
from benchmarks.processes import Observer, Usage
from octavia_stream import installed
from octavia_stream.config import Settings
from octavia_stream.dubbing.batch import SPEECH_STAGES
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.errors import EngineUnavailable
from octavia_stream.launcher.ray_node import HEAP

LOAD_DEADLINE_S = 180.0
CALL_DEADLINE_S = 300.0
POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class FlatOut:
    """What the engines alone take."""

    busy_s: dict[Stage, float]
    """Wall seconds inside calls, by stage."""
    cpu_s: float
    """CPU seconds inside calls: what is busy longer had to wait for its core."""
    processes: int
    usage: Usage

    @property
    def bound_s(self) -> float:
        """All calls in a perfect packing on all cores."""
        return sum(self.busy_s.values()) / self.processes

    @property
    def cpu_bound_s(self) -> float:
        """The same of CPU seconds: on a quiet machine it is equal, on a busy one it does not grow."""
        return self.cpu_s / self.processes


def run_flat_out(calls: Sequence[Call], settings: Settings) -> FlatOut:
    """Make every call once, the longest first; each process takes the next when it has finished one.

    Raises EngineUnavailable or BrokenBarrierError when a process dies or hangs.
    """
    ordered = sorted(calls, key=lambda call: -call.cost.wall_s)
    context = multiprocessing.get_context("spawn")
    turn: Synchronized[int] = context.Value("i", 0)
    loaded = context.Barrier(cores() + 1)
    results: Queue[tuple[Stage, Cost]] = context.Queue()
    arguments = (ordered, settings, turn, loaded, results)
    processes = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(cores())]
    costs: dict[Stage, list[Cost]] = {stage: [] for stage in SPEECH_STAGES}
    try:
        # As in replicas: what the heap is told at its start is no merit of the server's.
        with patch.dict(os.environ, HEAP):
            for process in processes:
                process.start()
        loaded.wait(LOAD_DEADLINE_S)
        with Observer() as observer:
            for _ in ordered:
                stage, cost = _next_result(results, processes)
                costs[stage].append(cost)
            for process in processes:
                process.join(LOAD_DEADLINE_S)
    finally:
        for process in processes:
            process.kill()
    busy_s = {stage: sum(cost.wall_s for cost in of_stage) for stage, of_stage in costs.items()}
    return FlatOut(busy_s, cpu_s(chain(*costs.values())), len(processes), observer.usage)


def _next_result(results: "Queue[tuple[Stage, Cost]]", processes: Sequence[SpawnProcess]) -> tuple[Stage, Cost]:
    give_up_at = time.monotonic() + CALL_DEADLINE_S
    while time.monotonic() < give_up_at:
        try:
            return results.get(timeout=POLL_S)
        except queue.Empty:
            if any(process.exitcode for process in processes):
                break
    raise EngineUnavailable("A process of the lower bound died or hung.")


def load_engines(settings: Settings) -> EngineSet:
    """As a replica of the server loads them."""
    return EngineSet(installed.transcriber(settings), installed.translator(settings), installed.synthesizer(settings))


def _work(
    calls: list[Call],
    settings: Settings,
    turn: "Synchronized[int]",
    loaded: Barrier,
    results: "Queue[tuple[Stage, Cost]]",
) -> None:
    engines = load_engines(settings)
    # Engines load their models at the first call; the shortest of each stage is enough for that.
    for call in {call.stage: call for call in calls}.values():
        engines.repeat(call)
    loaded.wait(LOAD_DEADLINE_S)
    while True:
        with turn.get_lock():
            place = turn.value
            turn.value += 1
        if place >= len(calls):
            return
        results.put((calls[place].stage, engines.repeat(calls[place])))
