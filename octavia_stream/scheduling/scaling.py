"""How many servers a queue is worth."""

import math
from collections.abc import Iterable, Mapping


def servers_wanted(*, queued_s: float, ongoing: float, queued_s_per_server: float, calls_per_server: int) -> int:
    """As many as the calls under way need, and no more sound waiting for each than it should.

    queued_s: seconds of sound that wait in the job workers; ongoing: calls that are with the servers.
    While sound waits, every server has as many calls as it takes, so none of them goes; when there is neither, 0.
    """
    busy = math.ceil(ongoing / calls_per_server)
    behind = math.ceil(queued_s / queued_s_per_server)
    return max(busy, behind)


def queued_in_all(told: Mapping[str, Iterable[float]]) -> float:
    """Seconds that wait with all job workers, from what several servers heard from each.

    told: by worker. A server hears of a worker's queue with each of its calls, so what one heard may be old; the
    highest is taken, for being late to go costs less than going too early.
    """
    return sum(max(values, default=0.0) for values in told.values())
