"""The ledger: every operation on credits, each atomic with the transaction it is called in.

Double entry, after the model of TigerBeetle: a transfer moves a whole number of credits from one account to another
and is never changed. Each owner has two accounts, `available` and `held`; the house has the others. What an owner
has is the sum of the two. The database keeps owners' balances and refuses whatever would overdraw one; only
money that went back may do that, and then nothing more can be reserved until the debt is gone.

All functions take a connection with an open transaction, lock the owner's books, and raise InvalidRequest for amounts
below 1 and for a missing reason.
"""

from dataclasses import dataclass
from typing import NoReturn
from uuid import UUID

import msgspec

from octavia_stream.billing import queries
from octavia_stream.billing.transfer import Balance, Hold, HoldState, TakeBack, Transfer, TransferKind
from octavia_stream.database.pool import Connection, Row
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import Conflict, InsufficientCredits, InvalidRequest, NotFound
from octavia_stream.telemetry.metrics import CREDITS_POSTED

REVENUE = UUID("00000000-0000-7000-8000-000000000001")
"""What was charged for work. These five are made by the migration."""
GRANTS = UUID("00000000-0000-7000-8000-000000000002")
"""Where given credits come from."""
SALES = UUID("00000000-0000-7000-8000-000000000003")
"""Where bought credits come from."""
REFUNDS = UUID("00000000-0000-7000-8000-000000000004")
"""Where credits go whose money went back."""
ADJUSTMENTS = UUID("00000000-0000-7000-8000-000000000005")
"""The other side of corrections by hand."""

MAX_AMOUNT = 10**12
MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class Books:
    """An owner's two accounts, locked until the transaction ends."""

    owner_id: UUID
    available_id: UUID
    held_id: UUID
    available: int
    held: int

    def after(self, debit_id: UUID, credit_id: UUID, amount: int) -> int:
        """What the owner has when `amount` has gone from one account to the other."""
        own = {self.available_id, self.held_id}
        return self.available + self.held + amount * ((credit_id in own) - (debit_id in own))


@dataclass(frozen=True, slots=True)
class Cause:
    """What a transfer is about."""

    key: str
    reason: str
    job_id: UUID | None = None
    hold_id: UUID | None = None
    order_id: str | None = None


async def grant(connection: Connection, owner_id: UUID, amount: int, *, key: str, reason: str) -> Transfer:
    """Give credits for nothing."""
    books = await _lock(connection, owner_id)
    return await _post(connection, books, "grant", GRANTS, books.available_id, amount, Cause(key, reason))


async def purchase(connection: Connection, owner_id: UUID, amount: int, *, order_id: str, reason: str) -> Transfer:
    """Give credits that were paid for. An order gives once, whoever asks and how often."""
    books = await _lock(connection, owner_id)
    cause = Cause(f"purchase/{order_id}", reason, order_id=order_id)
    earlier = await _earlier(connection, cause.key)
    if earlier is not None:
        # As much as it gave then: what is sold for the price now may be another number.
        return _same(earlier, "purchase", owner_id, earlier.amount, cause)
    return await _post(connection, books, "purchase", SALES, books.available_id, amount, cause)


async def take_back(
    connection: Connection, order_id: str, total: int, kind: TakeBack, *, reason: str
) -> Transfer | None:
    """Take bought credits back, because their money went back; the balance may fall below zero.

    total: how many of the order's credits have gone this way in the end, so asking again changes nothing and news that
    come late or twice do no harm. Never more than the order gave. None when nothing was left to take.
    Raises NotFound when nothing was bought.
    """
    row = await connection.fetchrow(queries.PURCHASE, order_id)
    if row is None:
        raise NotFound("No credits were bought with this order.")
    bought = _transfer(row)
    books = await _lock(connection, bought.owner_id)
    taken = _found(await connection.fetchrow(queries.TAKEN_BACK, order_id, kind))
    amount = min(total - taken["this_way"], bought.amount - taken["in_all"])
    if amount <= 0:
        return None
    cause = Cause(f"{kind}/{order_id}/{taken['this_way'] + amount}", reason, order_id=order_id)
    return await _post(connection, books, kind, books.available_id, REFUNDS, amount, cause)


async def adjust(connection: Connection, owner_id: UUID, amount: int, *, key: str, reason: str) -> Transfer:
    """Correct by hand: `amount` above zero gives, below zero takes. Raises InsufficientCredits."""
    books = await _lock(connection, owner_id)
    cause = Cause(key, reason)
    if amount >= 0:
        return await _post(connection, books, "adjustment", ADJUSTMENTS, books.available_id, amount, cause)
    if await _earlier(connection, key) is None and -amount > books.available:
        raise InsufficientCredits(f"Only {max(books.available, 0)} credits are available; {-amount} cannot be taken.")
    return await _post(connection, books, "adjustment", books.available_id, ADJUSTMENTS, -amount, cause)


async def compensate(connection: Connection, job_id: UUID, amount: int, *, key: str, reason: str) -> Transfer:
    """Give back what a job was charged, or a part. Raises NotFound, and Conflict when that were more than it cost."""
    row = await connection.fetchrow(queries.CHARGED_FOR_JOB, job_id)
    if row is None:
        raise NotFound("Nothing was charged for this job.")
    books = await _lock(connection, row["owner_id"])
    given = int(await connection.fetchval(queries.COMPENSATED, job_id))
    # Asked again, now that nobody else changes it.
    charged = _found(await connection.fetchrow(queries.CHARGED_FOR_JOB, job_id))["amount"]
    if await _earlier(connection, key) is None and given + amount > charged:
        raise Conflict(f"This job cost {charged} credits, of which {given} were given back already.")
    cause = Cause(key, reason, job_id=job_id)
    return await _post(connection, books, "compensation", REVENUE, books.available_id, amount, cause)


async def reserve(
    connection: Connection,
    owner_id: UUID,
    amount: int,
    *,
    key: str,
    reason: str,
    job_id: UUID | None = None,
    lifetime_s: float | None = None,
) -> Hold:
    """Set credits aside. Raises InsufficientCredits, and Conflict when something is held for the job already.

    lifetime_s: after so long it expires by itself; None lets it end with its job alone.
    """
    books = await _lock(connection, owner_id)
    earlier = await _earlier(connection, key)
    if earlier is not None:
        _same(earlier, "reserve", owner_id, amount, Cause(key, reason, job_id=job_id))
        return _hold(await connection.fetchrow(queries.HOLD, earlier.hold_id))
    _check(amount, reason)
    if amount > books.available:
        _refuse(books, amount)
    row = await connection.fetchrow(queries.ADD_HOLD, uuid7(), owner_id, job_id, amount, lifetime_s)
    if row is None:
        raise Conflict("Credits are held for this job already.")
    hold = _hold(row)
    cause = Cause(key, reason, job_id=job_id, hold_id=hold.id)
    await _post(connection, books, "reserve", books.available_id, books.held_id, amount, cause)
    return hold


async def capture(connection: Connection, hold: Hold, amount: int, *, reason: str) -> Hold:
    """Charge `amount` of what is held, for what was delivered, and let the rest go.

    amount: 0 lets all go. Capturing the same again changes nothing. Raises Conflict when the hold ended otherwise,
    InvalidRequest when it holds less.
    """
    if not 0 <= amount <= hold.amount:
        raise InvalidRequest(f"{hold.amount} credits are held; {amount} cannot be charged.")
    if amount == 0:
        return await release(connection, hold, reason=reason)
    books, now = await _lock_hold(connection, hold)
    if now.state == "captured" and now.captured == amount:
        return now
    _require_open(now)
    cause = Cause(f"capture/{hold.id}", reason, hold.job_id, hold.id)
    await _post(connection, books, "capture", books.held_id, REVENUE, amount, cause)
    if hold.amount > amount:
        books = await _lock(connection, hold.owner_id)
        cause = Cause(f"release/{hold.id}", reason, hold.job_id, hold.id)
        await _post(connection, books, "release", books.held_id, books.available_id, hold.amount - amount, cause)
    return _hold(await connection.fetchrow(queries.CLOSE_HOLD, hold.id, "captured", amount))


async def release(connection: Connection, hold: Hold, *, reason: str) -> Hold:
    """Let all that is held go. Releasing again changes nothing. Raises Conflict when it was captured."""
    return await _let_go(connection, hold, "release", "released", reason)


async def expire(connection: Connection, hold: Hold, *, reason: str = "It was held for too long.") -> Hold:
    """Let all go because its time is over. Raises Conflict when it was captured or released before."""
    return await _let_go(connection, hold, "expire", "expired", reason)


async def hold_of_job(connection: Connection, job_id: UUID) -> Hold | None:
    """What is held for a job now."""
    row = await connection.fetchrow(queries.HOLD_OF_JOB, job_id)
    return None if row is None else _hold(row)


async def balance(connection: Connection, owner_id: UUID) -> Balance:
    """What somebody has; zeros for somebody the ledger does not know."""
    return msgspec.convert(dict(_found(await connection.fetchrow(queries.BALANCE, owner_id))), Balance)


async def _let_go(connection: Connection, hold: Hold, kind: TransferKind, state: HoldState, reason: str) -> Hold:
    books, now = await _lock_hold(connection, hold)
    if now.state == state:
        return now
    _require_open(now)
    cause = Cause(f"{kind}/{hold.id}", reason, hold.job_id, hold.id)
    await _post(connection, books, kind, books.held_id, books.available_id, hold.amount, cause)
    return _hold(await connection.fetchrow(queries.CLOSE_HOLD, hold.id, state, 0))


async def _lock(connection: Connection, owner_id: UUID) -> Books:
    """The owner's books, made when there are none. Until the transaction ends nobody else changes them."""
    rows = await connection.fetch(queries.LOCK_BOOKS, owner_id)
    if not rows:
        await connection.execute(queries.OPEN_BOOKS, uuid7(), uuid7(), owner_id)
        rows = await connection.fetch(queries.LOCK_BOOKS, owner_id)
    available, held = rows
    return Books(owner_id, available["id"], held["id"], available["balance"], held["balance"])


async def _lock_hold(connection: Connection, hold: Hold) -> tuple[Books, Hold]:
    """The books of a hold, and the hold as it is now that they are locked."""
    books = await _lock(connection, hold.owner_id)
    return books, _hold(await connection.fetchrow(queries.HOLD, hold.id))


async def _earlier(connection: Connection, key: str) -> Transfer | None:
    """The transfer of this key, if it was made before."""
    row = await connection.fetchrow(queries.BY_KEY, key)
    return None if row is None else _transfer(row)


def _same(earlier: Transfer, kind: TransferKind, owner_id: UUID, amount: int, cause: Cause) -> Transfer:
    """`earlier`, when it is what is asked for again. Raises Conflict."""
    asked = (kind, owner_id, amount, cause.job_id, cause.order_id)
    if (earlier.kind, earlier.owner_id, earlier.amount, earlier.job_id, earlier.order_id) != asked:
        raise Conflict("This idempotency key was used for something else.")
    return earlier


async def _post(
    connection: Connection,
    books: Books,
    kind: TransferKind,
    debit_id: UUID,
    credit_id: UUID,
    amount: int,
    cause: Cause,
) -> Transfer:
    """Move credits between two accounts, of which one at least is of these locked books; the same key moves once."""
    _check(amount, cause.reason)
    earlier = await _earlier(connection, cause.key)
    if earlier is not None:
        return _same(earlier, kind, books.owner_id, amount, cause)
    row = await connection.fetchrow(
        queries.POST,
        uuid7(),
        cause.key,
        kind,
        books.owner_id,
        debit_id,
        credit_id,
        amount,
        cause.reason,
        cause.job_id,
        cause.hold_id,
        cause.order_id,
        books.after(debit_id, credit_id, amount),
    )
    if row is None:
        # Somebody else's books took the key, the order or the job in this very moment.
        raise Conflict("This was booked already, for somebody else.")
    # A transaction that is rolled back after this was counted too: a rare thing, and the books are not read from here.
    CREDITS_POSTED.labels(kind).inc(amount)
    return _transfer(row)


def _check(amount: int, reason: str) -> None:
    if not 1 <= amount <= MAX_AMOUNT:
        raise InvalidRequest("An amount of credits is a whole number from 1.")
    if not reason.strip() or len(reason) > MAX_REASON:
        raise InvalidRequest(f"Say why, in up to {MAX_REASON} characters.")


def _require_open(hold: Hold) -> None:
    if hold.state != "open":
        raise Conflict(f"What was held is {hold.state} already.")


def _refuse(books: Books, amount: int) -> NoReturn:
    if books.available < 0:
        raise InsufficientCredits(
            f"The account owes {-books.available} credits after a payment was returned; settle that first."
        )
    raise InsufficientCredits(f"This costs {amount} credits and {books.available} are available; buy more first.")


def _transfer(row: Row) -> Transfer:
    return msgspec.convert(dict(row), Transfer)


def _hold(row: Row | None) -> Hold:
    return msgspec.convert(dict(_found(row)), Hold)


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound("There is no such hold.")
    return row
