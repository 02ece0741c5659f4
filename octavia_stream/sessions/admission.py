"""Admission: whether this machine can hold another live session, by what its CPUs do and what sessions cost here.

A session that is let in keeps its quality; who comes when there is no room is told so at once, and nobody is slowed
down for them.
"""

from collections.abc import Callable

import psutil

from octavia_stream.config import LiveSettings
from octavia_stream.errors import Overloaded

SAMPLE_S = 1.0
SMOOTHING = 0.3
"""Weight of the newest sample: three seconds count for two thirds."""
SETTLING_S = 10.0
"""A session shows what it costs after this; until then it is counted as what one is known to cost."""
FIRST_GUESS_CORES = 0.1
"""Of a session, while none was measured; about what one costs whose models run elsewhere."""
LEAST_COST_CORES = 0.02
LATEST_S = 0.1
"""A loop that is this late (99 of 100 times) takes nobody in, whatever the CPUs say."""


def machine_cpu() -> float:
    """Share of the machine's CPUs in use since the last call, from 0 to 1."""
    return psutil.cpu_percent(interval=None) / 100


class Admission:
    """One node's. `now` is a clock's seconds."""

    def __init__(
        self, settings: LiveSettings, read_cpu: Callable[[], float] = machine_cpu, cores: int | None = None
    ) -> None:
        self._settings = settings
        self._read_cpu = read_cpu
        self._cores = cores or psutil.cpu_count() or 1
        self.cpu = 0.0
        """Share of the machine in use, smoothed."""
        self._sampled = False
        self._idle = 0.0
        """The same when there was no session last."""
        self._cost = FIRST_GUESS_CORES / self._cores
        self._admitted_at: list[float] = []

    @property
    def cost(self) -> float:
        """Share of the machine that one session takes."""
        return self._cost

    def sample(self, now: float, sessions: int) -> None:
        """Look at the CPUs; to be called every `SAMPLE_S`."""
        read = self._read_cpu()
        self.cpu = self.cpu + SMOOTHING * (read - self.cpu) if self._sampled else read
        self._sampled = True
        self._admitted_at = [moment for moment in self._admitted_at if now - moment < SETTLING_S]
        if sessions == 0:
            self._idle = self.cpu
        elif not self._admitted_at:
            least = LEAST_COST_CORES / self._cores
            self._cost = max((self.cpu - self._idle) / sessions, least)

    def admit(self, now: float, sessions: int, loop_lag_s: float) -> None:
        """Let one more in, or raise Overloaded."""
        if self.room_for(sessions, loop_lag_s) < 1:
            raise Overloaded("The live nodes have no capacity for another session now; try again later.")
        self._admitted_at.append(now)

    def room_for(self, sessions: int, loop_lag_s: float) -> int:
        """How many more sessions fit."""
        most = self._settings.sessions_per_node
        bound = max(most - sessions, 0) if most else 1000
        if self._settings.max_cpu == 0:
            return bound
        if loop_lag_s > LATEST_S and sessions:
            return 0
        free = self._settings.max_cpu - self.cpu - len(self._admitted_at) * self._cost
        return min(max(int(free / self._cost + 1e-9), 0), bound)

    def load(self, sessions: int, loop_lag_s: float) -> float:
        """From 0, idle, to 1, full."""
        if self.room_for(sessions, loop_lag_s) < 1:
            return 1.0
        busy = self.cpu / self._settings.max_cpu if self._settings.max_cpu else 0.0
        filled = sessions / self._settings.sessions_per_node if self._settings.sessions_per_node else 0.0
        return min(max(busy, filled), 1.0)
