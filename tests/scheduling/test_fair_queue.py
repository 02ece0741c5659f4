"""Who is next: bounds that hold for every sequence of calls."""

from collections import Counter, defaultdict
from itertools import combinations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from octavia_stream.scheduling.fair_queue import LIVE_IN_A_ROW, FairQueue, Ticket
from octavia_stream.scheduling.share import Priority, Share

TENANTS = [UUID(int=number) for number in range(1, 6)]
WEIGHTS = [1.0, 1.0, 2.0, 5.0, 0.5]
COSTS = st.floats(0.25, 30.0)


def share(number: int, priority: Priority = Priority.BATCH) -> Share:
    return Share(TENANTS[number], WEIGHTS[number], priority)


class Scheduling(RuleBasedStateMachine):
    """Any order of pushes, cancels, starts and ends, against a list of what waits."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue(3)
        self.waiting: dict[tuple[int, Priority], list[tuple[int, Ticket[int]]]] = defaultdict(list)
        self.pushed = 0
        self.given: dict[int, float] = dict.fromkeys(range(len(TENANTS)), 0.0)
        """What each tenant's batch calls were given, over its weight."""
        self.since: dict[tuple[int, int], float] = {}
        """For two tenants that have had calls waiting without a pause: the difference of `given` when that began."""
        self.highest: dict[tuple[int, int], float] = {}
        self.lowest: dict[tuple[int, int], float] = {}
        self.dearest: dict[int, float] = defaultdict(float)

    @rule(number=st.integers(0, len(TENANTS) - 1), cost=COSTS, priority=st.sampled_from(list(Priority)))
    def push(self, number: int, cost: float, priority: Priority) -> None:
        self.pushed += 1
        ticket = self.queue.push(share(number, priority), cost, self.pushed)
        self.waiting[number, priority].append((self.pushed, ticket))
        self.dearest[number] = max(self.dearest[number], cost / WEIGHTS[number])
        self.follow()

    @precondition(lambda self: any(self.waiting.values()))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Any that waits is gone at once; nobody else is."""
        calls = data.draw(st.sampled_from([calls for calls in self.waiting.values() if calls]))
        place = data.draw(st.integers(0, len(calls) - 1))
        _, ticket = calls.pop(place)
        assert self.queue.withdraw(ticket)
        assert not self.queue.withdraw(ticket)
        self.follow()

    @rule()
    def start(self) -> None:
        free = self.queue.slots - self.queue.running
        item = self.queue.start_next()
        assert (item is not None) == (free > 0 and any(self.waiting.values())), "idle although somebody waits, or full"
        if item is None:
            return
        heads = {calls[0][0]: key for key, calls in self.waiting.items() if calls}
        assert item in heads, "a tenant's calls go in the order they came"
        number, priority = heads[item]
        _, ticket = self.waiting[number, priority].pop(0)
        assert not self.queue.withdraw(ticket), "it is under way"
        if priority is Priority.BATCH:
            self.given[number] += ticket.cost / WEIGHTS[number]
        self.check()
        self.follow()

    @precondition(lambda self: self.queue.running > 0)
    @rule()
    def finish(self) -> None:
        self.queue.finish()

    @rule(slots=st.integers(0, 5))
    def scale(self, slots: int) -> None:
        self.queue.slots = slots

    def backlogged(self) -> list[int]:
        return [number for number in range(len(TENANTS)) if self.waiting[number, Priority.BATCH]]

    def follow(self) -> None:
        """Forget pairs of which one has nothing waiting now; begin with those that both have."""
        pairs = set(combinations(self.backlogged(), 2))
        for pair in set(self.highest) - pairs:
            del self.highest[pair], self.lowest[pair]
        for one, other in pairs - set(self.highest):
            self.highest[one, other] = self.lowest[one, other] = self.given[one] - self.given[other]

    def check(self) -> None:
        """The bound, over every stretch that ends now and in which both had calls waiting."""
        for (one, other), highest in self.highest.items():
            difference = self.given[one] - self.given[other]
            self.highest[one, other] = max(highest, difference)
            self.lowest[one, other] = min(self.lowest[one, other], difference)
            span = self.highest[one, other] - self.lowest[one, other]
            assert span <= self.dearest[one] + self.dearest[other] + 1e-6

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.queue.waiting == sum(map(len, self.waiting.values()))
        cost = sum(ticket.cost for calls in self.waiting.values() for _, ticket in calls)
        assert self.queue.queued_cost == pytest.approx(cost, abs=1e-6)


TestScheduling = Scheduling.TestCase


def served(queue: FairQueue[str], count: int) -> list[str]:
    """The next so many, one at a time."""
    order = []
    for _ in range(count):
        item = queue.start_next()
        assert item is not None
        queue.finish()
        order.append(item)
    return order


def test_a_newcomer_is_served_next_however_long_the_queue() -> None:
    queue: FairQueue[str] = FairQueue(1)
    for _ in range(10_000):
        queue.push(share(0), 28.0, "long film")
    served(queue, 500)

    queue.push(share(1), 5.0, "short clip")

    assert "short clip" in served(queue, 2)


def test_weights_divide_what_there_is() -> None:
    queue: FairQueue[int] = FairQueue(1)
    for number in (0, 2, 3):
        for _ in range(400):
            queue.push(share(number), 10.0, number)
    given: Counter[int] = Counter()
    for _ in range(400):
        item = queue.start_next()
        assert item is not None
        given[item] += 1
        queue.finish()

    assert [given[number] for number in (0, 2, 3)] == pytest.approx([50, 100, 250], abs=2)


def test_who_pauses_saves_nothing_up() -> None:
    queue: FairQueue[str] = FairQueue(1)
    for _ in range(100):
        queue.push(share(0), 1.0, "busy")
    served(queue, 50)
    for _ in range(50):
        queue.push(share(1), 1.0, "back")

    assert Counter(served(queue, 20))["back"] == pytest.approx(10, abs=1)


def test_who_asks_for_one_thing_at_a_time_gets_no_more_for_it() -> None:
    """Its queue is empty each time its call is begun; the next one waits until the others had as much."""
    queue: FairQueue[str] = FairQueue(2)
    for _ in range(200):
        queue.push(share(0), 1.0, "patient")
    queue.push(share(1), 20.0, "one at a time")
    order = []
    for _ in range(120):
        [item] = served(queue, 1)
        order.append(item)
        if item == "one at a time":
            queue.push(share(1), 20.0, item)
    assert order.count("one at a time") == pytest.approx(6, abs=1)


def test_asking_and_taking_back_puts_nobody_ahead() -> None:
    queue: FairQueue[str] = FairQueue(0)
    for _ in range(10):
        queue.push(share(1), 1.0, "steady")
        assert queue.withdraw(queue.push(share(0), 1.0, "fickle"))
    for _ in range(10):
        queue.push(share(0), 1.0, "fickle")
    queue.slots = 1
    first = served(queue, 10)
    assert first.count("fickle") == first.count("steady") == 5


def test_live_goes_first_and_jobs_go_on_all_the_same() -> None:
    queue: FairQueue[str] = FairQueue(1)
    for _ in range(3):
        queue.push(share(0), 1.0, "job")
    for _ in range(3 * LIVE_IN_A_ROW):
        queue.push(share(1, Priority.LIVE), 1.0, "live")

    order = served(queue, 3 * LIVE_IN_A_ROW + 3)

    assert order == (["live"] * LIVE_IN_A_ROW + ["job"]) * 3


@given(st.lists(st.tuples(st.integers(0, 4), COSTS), min_size=1, max_size=60))
def test_a_tenant_that_left_is_forgotten(calls: list[tuple[int, float]]) -> None:
    queue: FairQueue[int] = FairQueue(1)
    for number, cost in calls:
        queue.push(share(number), cost, number)
    while queue.start_next() is not None:
        queue.finish()

    one = queue._classes[Priority.BATCH]
    assert not one._flows
    assert not one._heap


def test_what_costs_nothing_is_refused() -> None:
    queue: FairQueue[int] = FairQueue(1)
    for cost, weight in ((0.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="costs something"):
            queue.push(Share(TENANTS[0], weight), cost, 1)
    with pytest.raises(ValueError, match="nothing is under way"):
        queue.finish()
