"""FairQueue: whose call is next. No clock and no event loop: whoever owns one says when things happen.

Start-time fair queueing (Goyal, Vin and Cheng, 1996) over tenants. A call that is the first of its tenant's queue has a
start tag; the lowest tag goes first. The tag of the tenant's next call is higher by cost / weight, and a tenant that
comes back after a pause starts where the others are now: what it left unused is not saved up. While two tenants have
calls waiting, what they were given, each divided by its weight, differs by at most the dearest call of each over its
weight; that holds for every stretch of time, whatever calls of others cost, and with any number of slots.

A thread is not expected: all methods are called from one.
"""

import heapq
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from octavia_stream.scheduling.share import Priority, Share

T = TypeVar("T")

LIVE_IN_A_ROW = 16
"""So many live calls go before a batch call that waits; then one batch call goes, so that no class starves."""


@dataclass(eq=False, slots=True)
class Ticket(Generic[T]):
    """One call's place in the queue."""

    share: Share
    cost: float
    item: T


@dataclass(eq=False, slots=True)
class _Flow(Generic[T]):
    """One tenant's calls of one class."""

    waiting: OrderedDict[int, Ticket[T]] = field(default_factory=OrderedDict)
    start: float = 0.0
    """Tag of the first that waits."""
    finish: float = 0.0
    """Tag at which what was begun last ends."""
    entry: int = 0
    """Number of its one valid entry in the heap."""


class _Class(Generic[T]):
    """The calls of one priority, fair among tenants."""

    def __init__(self) -> None:
        self._flows: dict[object, _Flow[T]] = {}
        self._heap: list[tuple[float, int, object]] = []
        self._resting: list[tuple[float, int, object]] = []
        """Tenants without calls, by the tag until which they are remembered."""
        self._now = 0.0
        self._entries = 0
        self.waiting = 0

    def push(self, ticket: Ticket[T]) -> None:
        tenant = ticket.share.tenant
        flow = self._flows.setdefault(tenant, _Flow())
        flow.waiting[id(ticket)] = ticket
        self.waiting += 1
        if len(flow.waiting) == 1:
            flow.start = max(self._now, flow.finish)
            self._enter(tenant, flow)

    def withdraw(self, ticket: Ticket[T]) -> bool:
        flow = self._flows.get(ticket.share.tenant)
        if flow is None or flow.waiting.pop(id(ticket), None) is None:
            return False
        self.waiting -= 1
        if not flow.waiting:
            self._rest(ticket.share.tenant, flow)
        return True

    def pop(self) -> Ticket[T]:
        """The next; there must be one."""
        while True:
            start, entry, tenant = heapq.heappop(self._heap)
            flow = self._flows.get(tenant)
            # An entry of a tenant that has left, or left and come back, means nothing.
            if flow is not None and flow.waiting and flow.entry == entry:
                break
        _, ticket = flow.waiting.popitem(last=False)
        self.waiting -= 1
        self._now = start
        flow.finish = flow.start = start + ticket.cost / ticket.share.weight
        if flow.waiting:
            self._enter(tenant, flow)
        else:
            self._rest(tenant, flow)
        self._forget()
        return ticket

    def reset(self) -> None:
        """Nobody waits and nothing runs: nobody owes anything."""
        self._flows.clear()
        self._heap.clear()
        self._resting.clear()
        self._now = 0.0

    def _enter(self, tenant: object, flow: _Flow[T]) -> None:
        flow.entry = self._number()
        heapq.heappush(self._heap, (flow.start, flow.entry, tenant))

    def _rest(self, tenant: object, flow: _Flow[T]) -> None:
        flow.entry = self._number()
        heapq.heappush(self._resting, (flow.finish, flow.entry, tenant))

    def _forget(self) -> None:
        """Tenants that owe nothing any more: whoever comes back then starts at `_now` anyway."""
        while self._resting and self._resting[0][0] <= self._now:
            _, entry, tenant = heapq.heappop(self._resting)
            flow = self._flows.get(tenant)
            if flow is not None and not flow.waiting and flow.entry == entry:
                del self._flows[tenant]

    def _number(self) -> int:
        self._entries += 1
        return self._entries


class FairQueue(Generic[T]):
    """Calls that wait, and how many are under way."""

    def __init__(self, slots: int) -> None:
        """slots: calls under way at once."""
        self.slots = slots
        """May be changed at any time; fewer than are under way stops none."""
        self.running = 0
        self.queued_cost = 0.0
        """Of all calls that wait."""
        self._classes: dict[Priority, _Class[T]] = {priority: _Class() for priority in Priority}
        self._live_in_a_row = 0

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return sum(one.waiting for one in self._classes.values())

    def push(self, share: Share, cost: float, item: T) -> Ticket[T]:
        """Queue a call behind the others of its tenant. cost: in any unit, above 0, the same for all calls."""
        if not (cost > 0 and share.weight > 0):
            raise ValueError("a call costs something, and a tenant has a weight")
        ticket = Ticket(share, cost, item)
        self._classes[share.priority].push(ticket)
        self.queued_cost += cost
        return ticket

    def withdraw(self, ticket: Ticket[T]) -> bool:
        """Take a waiting call away, as if it had never been; False when it has been started already."""
        found = self._classes[ticket.share.priority].withdraw(ticket)
        if found:
            self._leave(ticket)
        return found

    def start_next(self) -> T | None:
        """The call whose turn it is, which takes a slot until `finish`; None when none is free or nobody waits."""
        if self.running >= self.slots:
            return None
        chosen = self._chosen()
        if chosen is None:
            return None
        ticket = self._classes[chosen].pop()
        self._live_in_a_row = self._live_in_a_row + 1 if chosen is Priority.LIVE else 0
        self.running += 1
        self._leave(ticket)
        return ticket.item

    def finish(self) -> None:
        """A call that was started has ended, however."""
        if self.running < 1:
            raise ValueError("nothing is under way")
        self.running -= 1
        self._settle()

    def _chosen(self) -> Priority | None:
        live, batch = self._classes[Priority.LIVE].waiting, self._classes[Priority.BATCH].waiting
        if live and (not batch or self._live_in_a_row < LIVE_IN_A_ROW):
            return Priority.LIVE
        return Priority.BATCH if batch else None

    def _leave(self, ticket: Ticket[T]) -> None:
        self.queued_cost -= ticket.cost
        self._settle()

    def _settle(self) -> None:
        if self.waiting:
            return
        # Sums of floats drift; nothing is nothing.
        self.queued_cost = 0.0
        if not self.running:
            for one in self._classes.values():
                one.reset()
