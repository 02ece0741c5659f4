"""The ledger on real Postgres: what it does, and what the database lets nobody do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from octavia_stream.billing import ledger
from octavia_stream.billing.audit import LedgerAudit, audit_ledger
from octavia_stream.billing.credits import CreditStore
from octavia_stream.billing.transfer import Balance, Hold
from octavia_stream.database.pool import Connection, Database
from octavia_stream.errors import Conflict, InsufficientCredits, InvalidRequest, NotFound, OctaviaError

pytestmark = pytest.mark.services

CLEAN = LedgerAudit(0, 0, 0, 0)


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as opened:
        yield opened


@pytest.fixture(scope="module")
async def credits(database: Database) -> CreditStore:
    return CreditStore(database)


@pytest.fixture(autouse=True)
async def sound(database: Database) -> AsyncIterator[None]:
    """Whatever a test did, the books are right."""
    yield
    # Jobs of these tests are ids alone; what is held for them is found by the tests of jobs.
    audit = await audit_ledger(database)
    assert (audit.drift, audit.negative_balances, audit.doubles) == (0, 0, 0)


@asynccontextmanager
async def transaction(database: Database) -> AsyncIterator[Connection]:
    async with database.transaction() as connection:
        yield connection


async def rich(credits: CreditStore, amount: int = 100) -> UUID:
    """Somebody with so many credits."""
    owner = uuid4()
    await credits.grant(owner, amount, key=f"gift/{owner}", reason="A gift.")
    return owner


async def held(database: Database, owner: UUID, amount: int, job_id: UUID | None = None) -> Hold:
    async with transaction(database) as connection:
        key = f"reserve/{uuid4()}"
        return await ledger.reserve(connection, owner, amount, key=key, reason="A dub.", job_id=job_id)


async def test_what_is_granted_can_be_held_charged_and_let_go(database: Database, credits: CreditStore) -> None:
    owner, job_id = await rich(credits), uuid4()
    hold = await held(database, owner, 30, job_id)
    assert await credits.balance(owner) == Balance(balance=100, held=30)
    assert (await credits.balance(owner)).available == 70
    assert await credits.open_holds(owner) == [hold]
    async with transaction(database) as connection:
        assert await ledger.hold_of_job(connection, job_id) == hold
        charged = await ledger.capture(connection, hold, 20, reason="A dub.")
    assert (charged.state, charged.captured) == ("captured", 20)
    assert await credits.balance(owner) == Balance(balance=80, held=0)
    assert await credits.open_holds(owner) == []
    again = await held(database, owner, 80)
    async with transaction(database) as connection:
        assert (await ledger.release(connection, again, reason="It failed.")).state == "released"
    assert await credits.balance(owner) == Balance(balance=80, held=0)


async def test_a_statement_has_a_line_for_each_change_and_adds_up(database: Database, credits: CreditStore) -> None:
    owner, job_id = await rich(credits), uuid4()
    hold = await held(database, owner, 30, job_id)
    async with transaction(database) as connection:
        await ledger.capture(connection, hold, 20, reason="A dub.")
    async with transaction(database) as connection:
        await ledger.compensate(connection, job_id, 5, key=f"sorry/{owner}", reason="It lisped.")
    await credits.adjust(owner, -3, key=f"fix/{owner}", reason="Counted twice.")
    lines = await credits.statement(owner, 10)
    assert [(line.type, line.amount, line.balance_after, line.job_id) for line in lines] == [
        ("adjustment", -3, 82, None),
        ("compensation", 5, 85, job_id),
        ("capture", -20, 80, job_id),
        ("grant", 100, 100, None),
    ]
    assert [line.reason for line in lines] == ["Counted twice.", "It lisped.", "A dub.", "A gift."]
    assert [line.id for line in await credits.statement(owner, 2, before=lines[1].id)] == [lines[2].id, lines[3].id]
    assert [line.id for line in await credits.statement(owner, 9, types=["capture"])] == [lines[2].id]
    assert [line.id for line in await credits.statement(owner, 9, job_id=job_id)] == [lines[1].id, lines[2].id]
    since = await credits.statement(owner, 9, since=lines[1].created_at)
    until = await credits.statement(owner, 9, until=lines[1].created_at)
    assert [line.id for line in since + until] == [line.id for line in lines]
    stranger = await rich(credits)
    assert await credits.statement(stranger, 9, before=lines[0].id) == []


async def test_nobody_holds_more_than_there_is(database: Database, credits: CreditStore) -> None:
    owner = await rich(credits, 10)
    with pytest.raises(InsufficientCredits, match="costs 11 credits and 10 are available"):
        await held(database, owner, 11)
    await held(database, owner, 10)
    with pytest.raises(InsufficientCredits):
        await held(database, owner, 1)
    with pytest.raises(InsufficientCredits):
        await held(database, uuid4(), 1)


async def test_of_fifty_that_reserve_the_last_credits_at_once_one_wins(
    database: Database, credits: CreditStore
) -> None:
    owner = await rich(credits, 10)
    tries = await asyncio.gather(*(held(database, owner, 10) for _ in range(50)), return_exceptions=True)
    won = [one for one in tries if isinstance(one, Hold)]
    assert len(won) == 1
    assert all(isinstance(one, InsufficientCredits) for one in tries if one is not won[0])
    assert await credits.balance(owner) == Balance(balance=10, held=10)


async def test_the_same_key_fifty_times_at_once_is_once(database: Database, credits: CreditStore) -> None:
    owner, job_id = await rich(credits), uuid4()

    async def reserve() -> Hold:
        async with transaction(database) as connection:
            return await ledger.reserve(connection, owner, 7, key=f"r/{job_id}", reason="A dub.", job_id=job_id)

    holds = await asyncio.gather(*(reserve() for _ in range(50)))
    assert len({hold.id for hold in holds}) == 1
    grants = await asyncio.gather(*(credits.grant(owner, 5, key=f"g/{owner}", reason="More.") for _ in range(50)))
    assert len({transfer.id for transfer in grants}) == 1
    assert await credits.balance(owner) == Balance(balance=105, held=7)


async def test_a_key_is_for_one_thing(credits: CreditStore) -> None:
    owner, other = await rich(credits), await rich(credits)
    key = f"gift/{owner}"
    for somebody, amount in ((owner, 99), (other, 100)):
        with pytest.raises(Conflict):
            await credits.grant(somebody, amount, key=key, reason="A gift.")
    with pytest.raises(Conflict):
        await credits.adjust(owner, 100, key=key, reason="A gift.")


async def test_one_key_for_two_owners_at_once_is_for_one_of_them(credits: CreditStore) -> None:
    people, key = [uuid4() for _ in range(20)], f"race/{uuid4()}"
    tries = await asyncio.gather(
        *(credits.grant(owner, 1, key=key, reason="Race.") for owner in people), return_exceptions=True
    )
    assert sum(not isinstance(one, BaseException) for one in tries) == 1
    assert all(isinstance(one, Conflict) for one in tries if isinstance(one, BaseException))


async def test_a_hold_ends_once(database: Database, credits: CreditStore) -> None:
    owner = await rich(credits)
    hold = await held(database, owner, 30, uuid4())

    async def end(number: int) -> Hold:
        async with transaction(database) as connection:
            if number % 2:
                return await ledger.capture(connection, hold, 12, reason="Done.")
            return await ledger.release(connection, hold, reason="Failed.")

    ends = await asyncio.gather(*(end(number) for number in range(50)), return_exceptions=True)
    states = {one.state for one in ends if isinstance(one, Hold)}
    assert len(states) == 1
    assert all(isinstance(one, Conflict) for one in ends if isinstance(one, BaseException))
    assert await credits.balance(owner) == Balance(balance=88 if states == {"captured"} else 100, held=0)
    with pytest.raises(InvalidRequest):
        async with transaction(database) as connection:
            await ledger.capture(connection, hold, 31, reason="Too much.")


async def test_a_job_holds_once_at_a_time_and_each_hold_is_charged_once(
    database: Database, credits: CreditStore
) -> None:
    owner, job_id = await rich(credits), uuid4()
    hold = await held(database, owner, 5, job_id)
    with pytest.raises(Conflict):
        await held(database, owner, 5, job_id)
    async with transaction(database) as connection:
        await ledger.capture(connection, hold, 5, reason="Done.")
    with pytest.raises(Conflict):
        async with transaction(database) as connection:
            await ledger.capture(connection, hold, 4, reason="Done again.")
    # A finished job that is edited costs something more.
    again = await held(database, owner, 3, job_id)
    async with transaction(database) as connection:
        await ledger.capture(connection, again, 3, reason="Edited.")
    assert (await credits.balance(owner)).balance == 92
    async with transaction(database) as connection:
        with pytest.raises(Conflict, match="cost 8 credits"):
            await ledger.compensate(connection, job_id, 9, key=f"c/{job_id}", reason="Bad.")


async def test_what_was_held_for_a_time_expires(database: Database, credits: CreditStore) -> None:
    owner = await rich(credits)
    async with transaction(database) as connection:
        short = await ledger.reserve(connection, owner, 10, key=f"s/{owner}", reason="Short.", lifetime_s=0.0)
        await ledger.reserve(connection, owner, 20, key=f"l/{owner}", reason="Long.", lifetime_s=3600.0)
        await ledger.reserve(connection, owner, 30, key=f"n/{owner}", reason="Until its job ends.")
    assert await credits.expire_due() == 1
    assert await credits.expire_due() == 0
    assert await credits.balance(owner) == Balance(balance=100, held=50)
    with pytest.raises(Conflict, match="expired"):
        async with transaction(database) as connection:
            await ledger.capture(connection, short, 1, reason="Too late.")


async def test_money_that_goes_back_takes_its_credits_along_even_below_zero(
    database: Database, credits: CreditStore
) -> None:
    owner, order = uuid4(), f"order-{uuid4()}"

    async def buy() -> object:
        async with transaction(database) as connection:
            return await ledger.purchase(connection, owner, 100, order_id=order, reason="Starter.")

    await asyncio.gather(*(buy() for _ in range(20)))
    assert await credits.balance(owner) == Balance(balance=100, held=0)
    spent = await held(database, owner, 80, uuid4())
    async with transaction(database) as connection:
        await ledger.capture(connection, spent, 80, reason="A dub.")
    running = await held(database, owner, 15, uuid4())
    async with transaction(database) as connection:
        await ledger.take_back(connection, order, 40, "refund", reason="Refunded.")
        assert await ledger.take_back(connection, order, 40, "refund", reason="Refunded.") is None
        assert await ledger.take_back(connection, order, 30, "refund", reason="Late news.") is None
        back = await ledger.take_back(connection, order, 100, "chargeback", reason="Charged back.")
        assert back is not None
        assert back.amount == 60, "no more goes than the order gave"
        assert await ledger.take_back(connection, order, 1, "refund", reason="More.") is None
    assert await credits.balance(owner) == Balance(balance=-80, held=15)
    with pytest.raises(InsufficientCredits, match="owes 95 credits"):
        await held(database, owner, 1)
    # What was held before is still charged.
    async with transaction(database) as connection:
        await ledger.capture(connection, running, 10, reason="A dub.")
    assert await credits.balance(owner) == Balance(balance=-90, held=0)
    await credits.grant(owner, 90, key=f"settled/{owner}", reason="Settled.")
    with pytest.raises(InsufficientCredits, match="costs 1 credits and 0"):
        await held(database, owner, 1)


async def test_what_was_never_bought_or_charged_cannot_go_back(database: Database, credits: CreditStore) -> None:
    owner, job_id = await rich(credits), uuid4()
    with pytest.raises(NotFound):
        async with transaction(database) as connection:
            await ledger.take_back(connection, "no-order", 1, "refund", reason="None.")
    with pytest.raises(NotFound):
        async with transaction(database) as connection:
            await ledger.compensate(connection, job_id, 1, key="x", reason="None.")
    hold = await held(database, owner, 10, job_id)
    async with transaction(database) as connection:
        await ledger.capture(connection, hold, 10, reason="A dub.")
        await ledger.compensate(connection, job_id, 6, key=f"1/{job_id}", reason="Half.")
    with pytest.raises(Conflict):
        async with transaction(database) as connection:
            await ledger.compensate(connection, job_id, 5, key=f"2/{job_id}", reason="More than it cost.")
    with pytest.raises(InsufficientCredits):
        await credits.adjust(owner, -97, key=f"3/{job_id}", reason="Too much.")


@pytest.mark.parametrize("amount", [0, -1, 10**13])
async def test_an_amount_is_a_whole_number_from_one(credits: CreditStore, amount: int) -> None:
    with pytest.raises(InvalidRequest):
        await credits.grant(uuid4(), amount, key=f"{uuid4()}", reason="Nothing.")


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
async def test_every_transfer_has_a_reason(credits: CreditStore, reason: str) -> None:
    owner = await rich(credits)
    for amount in (1, -1):
        with pytest.raises(InvalidRequest):
            await credits.adjust(owner, amount, key=f"{uuid4()}", reason=reason)


@pytest.mark.parametrize(
    "statement",
    [
        "update credit_transfer set amount = amount + 1",
        "update credit_transfer set reason = 'another'",
        "delete from credit_transfer",
        "truncate credit_transfer",
        "truncate credit_transfer, credit_hold, ledger_account",
        "update ledger_account set balance = balance + 1 where owner_id is not null",
        "update ledger_account set debt = 1000000",
        "delete from ledger_account where kind = 'revenue'",
        "delete from credit_hold",
        "update credit_hold set amount = 1",
        "update credit_hold set state = 'open', closed_at = null, captured = 0",
    ],
)
async def test_nobody_edits_the_books(database: Database, credits: CreditStore, statement: str) -> None:
    owner = await rich(credits)
    async with transaction(database) as connection:
        await ledger.release(connection, await held(database, owner, 5), reason="Let go.")
    with pytest.raises((asyncpg.RestrictViolationError, asyncpg.FeatureNotSupportedError)):
        await database.execute(statement)


@pytest.mark.parametrize(
    ("kind", "source", "target", "amount", "after"),
    [
        ("reserve", "available", "held", 101, 100),  # more than there is
        ("adjustment", "available", "adjustments", 101, -1),
        ("capture", "held", "revenue", 1, 99),  # nothing is held
        ("grant", "sales", "available", 1, 101),  # not where grants come from
        ("grant", "grants", "held", 1, 101),
        ("theft", "grants", "available", 1, 101),
        ("grant", "grants", "available", 1, 102),  # it does not add up
        ("grant", "grants", "available", 0, 100),
        ("grant", "grants", "available", -5, 95),
        ("reserve", "available", "available", 5, 100),
    ],
)
async def test_the_database_refuses_a_transfer_that_is_not_right(
    database: Database, credits: CreditStore, kind: str, source: str, target: str, amount: int, after: int
) -> None:
    owner = await rich(credits)
    insert = """
        insert into credit_transfer
            (id, key, kind, owner_id, debit_id, credit_id, amount, reason, balance_after, hold_id)
        select gen_random_uuid(), gen_random_uuid()::text, $2, $1, source.id, target.id, $5, 'x', $6,
            case when $2 in ('reserve', 'capture') then (select id from credit_hold limit 1) end
        from ledger_account source, ledger_account target
        where source.kind = $3 and coalesce(source.owner_id, $1) = $1
            and target.kind = $4 and coalesce(target.owner_id, $1) = $1
    """
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await database.execute(insert, owner, kind, source, target, amount, after)
    assert await credits.balance(owner) == Balance(balance=100, held=0)


async def test_credits_do_not_go_from_one_owner_to_another(database: Database, credits: CreditStore) -> None:
    one, other = await rich(credits), await rich(credits)
    steal = """
        insert into credit_transfer
            (id, key, kind, owner_id, debit_id, credit_id, amount, reason, balance_after, order_id)
        select gen_random_uuid(), gen_random_uuid()::text, 'refund', $1, source.id, target.id, 5, 'x', 105, 'o'
        from ledger_account source, ledger_account target
        where source.kind = 'available' and source.owner_id = $2 and target.kind = 'refunds'
    """
    with pytest.raises(asyncpg.CheckViolationError, match="stays with its owner"):
        await database.execute(steal, one, other)


async def test_the_audit_sees_what_is_off(database: Database, credits: CreditStore) -> None:
    """Triggers are taken away, as somebody with the rights of the owner of the database could."""
    before = await audit_ledger(database)
    owner = await rich(credits)
    try:
        await held(database, owner, 5, uuid4())
        await database.execute("alter table ledger_account disable trigger user")
        for change in (3, -200):
            await database.execute(
                "update ledger_account set balance = balance + $2, debt = greatest(0, -balance - $2) "
                "where owner_id = $1 and kind = 'available'",
                owner,
                change,
            )
        seen = await audit_ledger(database)
    finally:
        await database.execute(
            "update ledger_account set balance = 95, debt = 0 where owner_id = $1 and kind = 'available'", owner
        )
        await database.execute("alter table ledger_account enable trigger user")
    assert (seen.drift, seen.negative_balances) == (197, 1)
    assert seen.orphan_holds == before.orphan_holds + 1
    assert not seen.clean
    assert CLEAN.clean


async def test_errors_say_what_to_do(database: Database, credits: CreditStore) -> None:
    owner = await rich(credits, 1)
    with pytest.raises(OctaviaError) as refused:
        await held(database, owner, 2)
    assert str(refused.value).endswith(".")
    assert not refused.value.retryable
