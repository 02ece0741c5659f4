"""What processes use while something is measured: ours by their roles, and all others together."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psutil

SAMPLE_S = 2.0
"""Looking at all processes takes some milliseconds, which what is measured pays for: at this pace 3 in a thousand."""
MIB = 1024**2

Role = Callable[[int, str], str]
"""Process id and command line → what the process is for."""


@dataclass(slots=True)
class Usage:
    """What was used in one stretch of time."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    """By this process and all below it, those that have ended included."""
    other_cores: float = 0.0
    """Cores that all other programs of the machine used on average."""
    peak_mib: dict[str, float] = field(default_factory=dict)
    """Largest resident memory of a single process, by role."""
    peak_sum_mib: float = 0.0
    """Of all of ours at once; what they share is counted in each."""
    observing_s: float = 0.0
    """CPU seconds of `cpu_s` that went into looking."""
    cpu_by_role: dict[str, float] = field(default_factory=dict)
    """CPU seconds by role. What a process started and waited for counts as its own, such as jailed children."""


class Observer:
    """A context manager; when it is left, `usage` says what was used in it."""

    def __init__(self, role: Role | None = None) -> None:
        """role: also sample memory, by role."""
        self.usage = Usage()
        self._role = role
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="memory sampler", daemon=True)

    def __enter__(self) -> Self:
        self._started_at = time.monotonic()
        self._machine_s, self._own_s = machine_cpu_s(), own_cpu_s()
        self._by_pid = cpu_by_pid() if self._role is not None else {}
        if self._role is not None:
            self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        usage = self.usage
        usage.wall_s = time.monotonic() - self._started_at
        usage.cpu_s = own_cpu_s() - self._own_s
        others_s = machine_cpu_s() - self._machine_s - usage.cpu_s
        usage.other_cores = max(others_s / usage.wall_s, 0.0)
        if self._role is not None:
            self._sampler.join()
            usage.cpu_by_role = self._cpu_by_role(self._role)

    def _cpu_by_role(self, role: Role) -> dict[str, float]:
        by_role: dict[str, float] = {}
        for pid, seconds in cpu_by_pid().items():
            with suppress(psutil.Error):
                name = role(pid, " ".join(psutil.Process(pid).cmdline()))
                by_role[name] = by_role.get(name, 0.0) + seconds - self._by_pid.get(pid, 0.0)
        return by_role

    def _sample(self) -> None:
        role = self._role
        names: dict[int, str] = {}
        while role is not None and not self._ended.wait(SAMPLE_S):
            total = 0.0
            for process in own_processes():
                with suppress(psutil.Error):
                    mib = process.memory_info().rss / MIB
                    # A jailed child is bubblewrap first, and changes its name.
                    name = names.get(process.pid, "other")
                    if name == "other":
                        names[process.pid] = name = role(process.pid, " ".join(process.cmdline()))
                    total += mib
                    self.usage.peak_mib[name] = max(self.usage.peak_mib.get(name, 0.0), mib)
            self.usage.peak_sum_mib = max(self.usage.peak_sum_mib, total)
        self.usage.observing_s = time.thread_time()


def own_processes() -> list[psutil.Process]:
    """This process and all below it."""
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def own_cpu_s() -> float:
    """CPU seconds of this process and all below it, those that have ended and were waited for included."""
    return sum(cpu_by_pid().values())


def cpu_by_pid() -> dict[int, float]:
    """The same, each with what it started and waited for."""
    seconds: dict[int, float] = {}
    for process in own_processes():
        with suppress(psutil.Error):
            times = process.cpu_times()
            seconds[process.pid] = times.user + times.system + times.children_user + times.children_system
    return seconds


def machine_cpu_s() -> float:
    """CPU seconds of everything that ran on this machine since it started."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)
