"""The ledger beside a model of it: any operations, in any order, several at once.

`LEDGER_STEPS=10000` runs that many operations, for a machine with time; a few hundred otherwise.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from octavia_stream.billing import ledger
from octavia_stream.billing.audit import LedgerAudit, audit_ledger
from octavia_stream.billing.credits import CreditStore
from octavia_stream.billing.transfer import Balance, Hold
from octavia_stream.database.pool import Connection, Database
from octavia_stream.errors import Conflict, InsufficientCredits, NotFound

pytestmark = [pytest.mark.services, pytest.mark.timeout(3600)]

STEPS = int(os.environ.get("LEDGER_STEPS", "400"))
STEPS_PER_RUN = 40
AT_ONCE = 5
OWNERS = 3

OPERATIONS = (
    "grant", "purchase", "reserve", "reserve_for_a_moment", "capture", "release", "expire", "refund", "chargeback",
    "compensate", "give", "take", "repeat",
)  # fmt: skip


EXPECTED = (*OPERATIONS, "reserve: insufficient_credits", "compensate: conflict")
"""None of them is left out, and refusals are met too."""


@dataclass(frozen=True)
class Step:
    """One operation: what, for whom, how much, and on which of the things that exist."""

    operation: str
    owner: int
    amount: int
    pick: int


STEP = st.builds(
    Step, st.sampled_from(OPERATIONS), st.integers(0, OWNERS - 1), st.integers(1, 120), st.integers(0, 1000)
)


@dataclass
class Person:
    """What the model knows of one owner."""

    id: UUID
    posted: int = 0
    held: dict[UUID, Hold] = field(default_factory=dict)
    orders: dict[str, int] = field(default_factory=dict)
    """What may still be taken back of each order."""
    charged: dict[UUID, int] = field(default_factory=dict)
    """What may still be given back of each job."""

    @property
    def held_amount(self) -> int:
        return sum(hold.amount for hold in self.held.values())


class LedgerMachine(RuleBasedStateMachine):
    """Runs steps on Postgres, and on paper as far as Postgres said that they happened."""

    runner: asyncio.Runner
    database: Database
    done: Counter[str]

    @initialize()
    def begin(self) -> None:
        self.people = [Person(uuid4()) for _ in range(OWNERS)]
        self.replays: list[Callable[[], Awaitable[Any]]] = []
        self.credits = CreditStore(self.database)

    @rule(step=STEP)
    def alone(self, step: Step) -> None:
        self.runner.run(self.all_at_once([step]))

    @rule(steps=st.lists(STEP, min_size=2, max_size=AT_ONCE))
    def together(self, steps: list[Step]) -> None:
        self.runner.run(self.all_at_once(steps))

    @rule(steps=st.lists(STEP, min_size=2, max_size=AT_ONCE), owner=st.integers(0, OWNERS - 1))
    def together_on_one(self, steps: list[Step], owner: int) -> None:
        """All of one owner, where they meet."""
        mine = [Step(step.operation, owner, step.amount, step.pick) for step in steps]
        self.runner.run(self.all_at_once(mine))

    @invariant()
    def the_books_say_what_the_model_says(self) -> None:
        if hasattr(self, "people"):
            self.runner.run(self.compare())

    async def all_at_once(self, steps: list[Step]) -> None:
        await asyncio.gather(*(self.perform(step) for step in steps))

    async def perform(self, step: Step) -> None:
        """One operation, counted by how it went."""
        person = self.people[step.owner]
        try:
            happened = await getattr(self, "do_" + step.operation)(person, step)
        except (InsufficientCredits, Conflict, NotFound) as error:
            self.done[f"{step.operation}: {error.code}"] += 1
        else:
            self.done[step.operation if happened else f"{step.operation}: nothing to do"] += 1

    async def once(self, operation: Callable[[Connection], Awaitable[Any]]) -> Any:
        """In a transaction; kept, to be said again later."""

        async def run() -> Any:
            async with self.database.transaction() as connection:
                return await operation(connection)

        result = await run()
        self.replays.append(run)
        return result

    async def do_repeat(self, person: Person, step: Step) -> bool:
        """What was done before, under the same key, changes nothing."""
        if not self.replays:
            return False
        await self.replays[step.pick % len(self.replays)]()
        return True

    async def do_grant(self, person: Person, step: Step) -> bool:
        key = f"g/{uuid4()}"
        await self.once(lambda c: ledger.grant(c, person.id, step.amount, key=key, reason="Given."))
        person.posted += step.amount
        return True

    async def do_purchase(self, person: Person, step: Step) -> bool:
        order = f"o/{uuid4()}"
        await self.once(lambda c: ledger.purchase(c, person.id, step.amount, order_id=order, reason="Bought."))
        person.posted += step.amount
        person.orders[order] = step.amount
        return True

    async def do_reserve(self, person: Person, step: Step, lifetime_s: float | None = None) -> bool:
        key, job_id = f"r/{uuid4()}", uuid4()
        hold = await self.once(
            lambda c: ledger.reserve(
                c, person.id, step.amount, key=key, reason="Held.", job_id=job_id, lifetime_s=lifetime_s
            )
        )
        person.held[hold.id] = hold
        return True

    async def do_reserve_for_a_moment(self, person: Person, step: Step) -> bool:
        return await self.do_reserve(person, step, lifetime_s=0.0)

    async def do_capture(self, person: Person, step: Step) -> bool:
        hold = self.some_hold(person, step)
        if hold is None or hold.job_id is None:
            return False
        amount = 1 + step.amount % hold.amount
        ended = await self.once(lambda c: ledger.capture(c, hold, amount, reason="Delivered."))
        assert ended.captured == amount
        if person.held.pop(hold.id, None) is not None:
            person.posted -= amount
            person.charged[hold.job_id] = amount
        return True

    async def do_release(self, person: Person, step: Step) -> bool:
        hold = self.some_hold(person, step)
        if hold is None:
            return False
        await self.once(lambda c: ledger.release(c, hold, reason="Failed."))
        person.held.pop(hold.id, None)
        return True

    async def do_expire(self, person: Person, step: Step) -> bool:
        """Of everybody's; which ones, the ledger decides, so the model looks at what is left."""
        ended = await self.credits.expire_due()
        return ended > 0

    async def do_refund(self, person: Person, step: Step) -> bool:
        return await self.take_back(person, step, "refund")

    async def do_chargeback(self, person: Person, step: Step) -> bool:
        return await self.take_back(person, step, "chargeback")

    async def take_back(self, person: Person, step: Step, kind: Any) -> bool:
        if not person.orders:
            return False
        order = list(person.orders)[step.pick % len(person.orders)]
        taken = await self.once(lambda c: ledger.take_back(c, order, step.amount, kind, reason="Returned."))
        if taken is None:
            return False
        person.orders[order] -= taken.amount
        assert person.orders[order] >= 0
        person.posted -= taken.amount
        return True

    async def do_compensate(self, person: Person, step: Step) -> bool:
        if not person.charged:
            return False
        job_id = list(person.charged)[step.pick % len(person.charged)]
        key, amount = f"c/{uuid4()}", 1 + step.amount % (person.charged[job_id] + 2)
        await self.once(lambda c: ledger.compensate(c, job_id, amount, key=key, reason="Sorry."))
        person.charged[job_id] -= amount
        assert person.charged[job_id] >= 0
        person.posted += amount
        return True

    async def do_give(self, person: Person, step: Step) -> bool:
        return await self.adjust(person, step.amount)

    async def do_take(self, person: Person, step: Step) -> bool:
        return await self.adjust(person, -step.amount)

    async def adjust(self, person: Person, amount: int) -> bool:
        key = f"a/{uuid4()}"
        await self.once(lambda c: ledger.adjust(c, person.id, amount, key=key, reason="By hand."))
        person.posted += amount
        return True

    def some_hold(self, person: Person, step: Step) -> Hold | None:
        return list(person.held.values())[step.pick % len(person.held)] if person.held else None

    async def compare(self) -> None:
        for person in self.people:
            for hold in await self.expired(person):
                person.held.pop(hold, None)
            assert await self.credits.balance(person.id) == Balance(person.posted, person.held_amount)
            assert {hold.id for hold in await self.credits.open_holds(person.id)} == set(person.held)
            lines = await self.credits.statement(person.id, 1000)
            assert sum(line.amount for line in lines) == person.posted
            owed = [balance for balance in running(line.amount for line in reversed(lines)) if balance < 0]
            assert not owed or any(line.type in ("refund", "chargeback") for line in lines)
            assert [line.balance_after for line in reversed(lines)] == running(line.amount for line in reversed(lines))
        audit = await audit_ledger(self.database)
        # The jobs of this test are ids alone, so holds for them count as orphans; the next test has none left.
        assert (audit.drift, audit.negative_balances, audit.doubles) == (0, 0, 0)

    async def expired(self, person: Person) -> list[UUID]:
        rows = await self.database.fetch(
            "select id from credit_hold where owner_id = $1 and state = 'expired'", person.id
        )
        return [row["id"] for row in rows]

    def teardown(self) -> None:
        if hasattr(self, "people"):
            self.runner.run(self.end_all())

    async def end_all(self) -> None:
        """Every job ends sometime: then nothing is held by anybody."""
        await self.credits.expire_due()
        for person in self.people:
            for hold in await self.credits.open_holds(person.id):
                async with self.database.transaction() as connection:
                    await ledger.release(connection, hold, reason="The end.")
        assert await audit_ledger(self.database) == LedgerAudit(0, 0, 0, 0)


def running(amounts: Any) -> list[int]:
    """The sums so far."""
    sums, total = [], 0
    for amount in amounts:
        total += amount
        sums.append(total)
    return sums


def play(dsn: str, done: Counter[str]) -> None:
    """Run the machine on a loop of its own, until there were enough steps."""
    with asyncio.Runner() as runner:
        database = runner.run(Database(dsn).open())
        machine = type("Machine", (LedgerMachine,), {"runner": runner, "database": database, "done": done})
        try:
            # Some runs are short, and chance leaves some operation out: go on until all is there.
            while sum(done.values()) < STEPS or not all(done[operation] for operation in EXPECTED):
                run_state_machine_as_test(
                    machine,
                    settings=settings(
                        max_examples=max(4, (STEPS - sum(done.values())) // (STEPS_PER_RUN * 4)),
                        stateful_step_count=STEPS_PER_RUN,
                        deadline=None,
                        database=None,
                        # Hypothesis repeats itself where CI is set: going on would bring nothing new.
                        derandomize=False,
                        phases=[Phase.generate],
                        suppress_health_check=list(HealthCheck),
                    ),
                )
        finally:
            runner.run(database.close())


async def test_whatever_happens_in_whatever_order_the_books_are_right(database_url: str) -> None:
    done: Counter[str] = Counter()
    await asyncio.to_thread(play, database_url, done)
    print(f"{sum(done.values())} operations: {dict(sorted(done.items()))}")
    assert sum(done.values()) >= STEPS
