"""`python -m benchmarks.simulation`: how long jobs wait on one GPU or two hundred, with the scheduler's own code.

Nothing is measured here: a chunk takes what it took when it was measured (`CORE_S_PER_S`), divided by a GPU's speed,
which is assumed. Time is a number that jumps from one event to the next; `FairQueue` is the one of the job workers, and
`Fifo` is what it replaced. docs/why/scaling.md says what the figures mean.
"""

import argparse
import heapq
import itertools
import statistics
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol
from uuid import UUID

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.plot import Curve, Panel, draw
from octavia_stream.scheduling.fair_queue import FairQueue
from octavia_stream.scheduling.share import Share

CORE_S_PER_S = 2 * 44.2 / 235
"""Seconds of one core for a second of speech, all stages together: in README.md, "lower bound: the same engine calls
flat out", 44.2 s on two cores for 235 s (2026-11-22, AMD EPYC, the embedded models)."""
STAGES = 3
"""Speech recognition, translation, synthesis."""
GPU_SPEED = 20.0
"""How many such cores one GPU is worth. An assumption, not a measurement: no GPU was at hand."""
CHUNK_S = 25.0
WINDOW_CHUNKS = 4
PLACES, NEWCOMERS = 4, 12
"""As `OCTAVIA_WORKER__CONCURRENT_JOBS` and `…__NEWCOMER_JOBS`; one job worker for each GPU."""
FILM_S, CLIP_S = 1200.0, 180.0
JOBS = (10, 30, 100, 300, 1000, 3000, 10_000)
GPUS = (1, 8, 50, 200)

Policy = Literal["fair", "first come"]


class Queue(Protocol):
    """What stands before the servers of one stage."""

    def push(self, share: Share, cost: float, item: "Job") -> object: ...

    def start_next(self) -> "Job | None": ...

    def finish(self) -> None: ...


class Fifo:
    """First come, first served, whosever it is."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: deque[Job] = deque()

    def push(self, share: Share, cost: float, item: "Job") -> None:
        self._waiting.append(item)

    def start_next(self) -> "Job | None":
        if not self._free or not self._waiting:
            return None
        self._free -= 1
        return self._waiting.popleft()

    def finish(self) -> None:
        self._free += 1


@dataclass(eq=False, slots=True)
class Job:
    """One file on its way through the stages. Times are seconds after it was submitted."""

    share: Share
    seconds: float
    next_chunk: int = 0
    done: int = 0
    in_stage: list[int] = field(default_factory=lambda: [0] * STAGES)
    ready: list[int] = field(default_factory=lambda: [0] * STAGES)
    """Chunks that wait for a place in the job's own window, by stage."""
    waited_s: float | None = None
    """Until its first call began."""
    first_second_s: float | None = None
    """Until its first chunk was spoken."""

    @property
    def chunks(self) -> int:
        return -int(-self.seconds // CHUNK_S)


class Result(msgspec.Struct, frozen=True):
    """What one simulated run came to. Delays are of the short jobs, each of another user."""

    jobs: int
    gpus: int
    policy: Policy
    wait_p50_s: float
    wait_p95_s: float
    first_second_p50_s: float
    first_second_p95_s: float
    long_first_second_p95_s: float
    gpu_hours: float
    """All GPUs, until the last job has ended."""
    busy: float
    """Share of those in which a GPU worked."""


class Simulation:
    """Jobs that are all submitted at once, those of the one with the long ones first."""

    def __init__(self, jobs: int, gpus: int, policy: Policy) -> None:
        self._policy = policy
        self._now = 0.0
        self._events: list[tuple[float, int, int, Job]] = []
        self._count = itertools.count()
        self._queues: list[Queue] = [FairQueue(gpus) if policy == "fair" else Fifo(gpus) for _ in range(STAGES)]
        # A GPU is divided among the stages by what they cost, so that a chunk takes equally long in each.
        self._call_s = CHUNK_S * CORE_S_PER_S / GPU_SPEED
        self._places = PLACES * gpus
        self._newcomers = NEWCOMERS * gpus if policy == "fair" else 0
        archive = Share(UUID(int=0))
        films = [Job(archive, FILM_S) for _ in range(jobs // 2)]
        self._clips = [Job(Share(UUID(int=number)), CLIP_S) for number in range(1, jobs - len(films) + 1)]
        self._films = films
        self._waiting: dict[UUID, deque[Job]] = {archive.tenant: deque(films)}
        self._waiting |= {clip.share.tenant: deque([clip]) for clip in self._clips}
        self._running: Counter[UUID] = Counter()
        self._gpus = gpus

    def run(self) -> Result:
        self._claim()
        self._begin(range(STAGES))
        while self._events:
            self._now, _, stage, job = heapq.heappop(self._events)
            self._end_call(stage, job)
        return self._result()

    def _claim(self) -> None:
        """As `LOCK_CLAIMABLE`: whoever has fewest running, then whoever came first. Every tenant that waits here either
        has none running or is the first of all, so the order of submission says the rest."""
        while (room := self._places + self._newcomers - self._running.total()) > 0 and self._waiting:
            beyond = room <= self._newcomers
            tenant = self._next_tenant(newcomers_only=beyond)
            if tenant is None:
                return
            job = self._waiting[tenant].popleft()
            if not self._waiting[tenant]:
                del self._waiting[tenant]
            self._running[tenant] += 1
            self._feed(job)

    def _next_tenant(self, *, newcomers_only: bool) -> UUID | None:
        first = next(iter(self._waiting))
        if self._policy == "first come" or not self._running[first]:
            return first
        # Only the archive has more than one job: whoever else waits has none running.
        other = next(itertools.islice(self._waiting, 1, None), None)
        return other if other is not None else None if newcomers_only else first

    def _feed(self, job: Job) -> None:
        """Put what the job's windows let through in the queues."""
        while (
            job.next_chunk < job.chunks
            and job.in_stage[0] < WINDOW_CHUNKS
            and job.next_chunk - job.done < STAGES * WINDOW_CHUNKS
        ):
            job.next_chunk += 1
            self._push(0, job)
        for stage in range(1, STAGES):
            while job.ready[stage] and job.in_stage[stage] < WINDOW_CHUNKS:
                job.ready[stage] -= 1
                self._push(stage, job)

    def _push(self, stage: int, job: Job) -> None:
        job.in_stage[stage] += 1
        self._queues[stage].push(job.share, CHUNK_S, job)

    def _begin(self, stages: Iterable[int]) -> None:
        for stage in stages:
            while (job := self._queues[stage].start_next()) is not None:
                if job.waited_s is None:
                    job.waited_s = self._now
                heapq.heappush(self._events, (self._now + self._call_s, next(self._count), stage, job))

    def _end_call(self, stage: int, job: Job) -> None:
        job.in_stage[stage] -= 1
        self._queues[stage].finish()
        if stage + 1 < STAGES:
            job.ready[stage + 1] += 1
        else:
            self._end_chunk(job)
        self._feed(job)
        self._begin(range(STAGES))

    def _end_chunk(self, job: Job) -> None:
        job.done += 1
        if job.first_second_s is None:
            job.first_second_s = self._now
        if job.done == job.chunks:
            self._running[job.share.tenant] -= 1
            self._claim()

    def _result(self) -> Result:
        waits = [job.waited_s or 0.0 for job in self._clips]
        firsts = [job.first_second_s or 0.0 for job in self._clips]
        held_s = self._gpus * self._now
        worked_s = self._call_s * sum(job.chunks for job in (*self._films, *self._clips))
        return Result(
            jobs=len(self._films) + len(self._clips),
            gpus=self._gpus,
            policy=self._policy,
            wait_p50_s=statistics.median(waits),
            wait_p95_s=p95(waits),
            first_second_p50_s=statistics.median(firsts),
            first_second_p95_s=p95(firsts),
            long_first_second_p95_s=p95([job.first_second_s or 0.0 for job in self._films]),
            gpu_hours=held_s / 3600,
            busy=worked_s / held_s,
        )


def p95(values: Sequence[float]) -> float:
    """The smallest value that 95 % do not exceed."""
    return sorted(values)[max(0, -int(-len(values) * 95 // 100) - 1)]


def simulate(jobs: int, gpus: int, policy: Policy) -> Result:
    """One run from the first job's start to the last one's end."""
    return Simulation(jobs, gpus, policy).run()


def simulate_all(jobs: Sequence[int], gpus: Sequence[int]) -> list[Result]:
    """Every combination, as many at once as there are cores."""
    policies: tuple[Policy, ...] = ("fair", "first come")
    with ProcessPoolExecutor() as pool:
        return list(pool.map(simulate, *zip(*itertools.product(jobs, gpus, policies), strict=True)))


def main() -> int:
    """Always 0: what comes out is a result, whatever it is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument(
        "--most-jobs", type=int, default=max(JOBS), metavar="N", help="leave larger numbers of jobs out"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the figures here, as SVG")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()
    results = simulate_all([jobs for jobs in JOBS if jobs <= arguments.most_jobs], GPUS)
    show(results)
    if arguments.plot is not None:
        arguments.plot.write_text(plot(results), encoding="utf-8")
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.encode(results))
    return 0


def plot(results: Sequence[Result]) -> str:
    """Delays of the short jobs, and what the GPUs cost, over the number of jobs."""
    panels = (
        ("first dubbed second after, p95 [s]", lambda one: one.first_second_p95_s),
        ("waiting for the first call, p50 [s]", lambda one: max(one.wait_p50_s, 0.1)),
        ("GPU hours until all is done", lambda one: one.gpu_hours),
    )
    legend = [Curve(_counted(gpus), place, dashed=False, points=()) for place, gpus in enumerate(GPUS)]
    legend += [Curve("dashed: first come, first served", 0, dashed=True, points=())]
    return draw([Panel(title, "jobs at once", _curves(results, value)) for title, value in panels], legend)


def _curves(results: Sequence[Result], value: Callable[[Result], float]) -> tuple[Curve, ...]:
    curves = []
    policies: tuple[Policy, ...] = ("fair", "first come")
    for (place, gpus), policy in itertools.product(enumerate(GPUS), policies):
        points = [(one.jobs, value(one)) for one in results if (one.gpus, one.policy) == (gpus, policy)]
        if points:
            curves.append(Curve(f"{_counted(gpus)}, {policy}", place, policy == "first come", tuple(sorted(points))))
    return tuple(curves)


def _counted(gpus: int) -> str:
    return f"{gpus} GPU" if gpus == 1 else f"{gpus} GPUs"


def show(results: Sequence[Result]) -> None:
    """One row for each run."""
    table = Table("jobs", "GPUs", "order", "wait p50", "p95", "first second p50", "p95", "GPU hours", "busy")
    for one in results:
        seconds = (one.wait_p50_s, one.wait_p95_s, one.first_second_p50_s, one.first_second_p95_s)
        table.add_row(
            str(one.jobs),
            str(one.gpus),
            one.policy,
            *(f"{value:,.1f}" for value in seconds),
            f"{one.gpu_hours:.2f}",
            f"{one.busy:.0%}",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.exit(main())
