"""What moves in the ledger, and what of it the owner sees. All amounts are whole credits."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

TransferKind = Literal[
    "grant",
    "purchase",
    "reserve",
    "capture",
    "release",
    "expire",
    "refund",
    "chargeback",
    "compensation",
    "adjustment",
]
LineType = Literal["grant", "purchase", "capture", "refund", "chargeback", "compensation", "adjustment"]
"""Transfers that change what somebody owns. What is only set aside or let go again is no line of a statement."""
TakeBack = Literal["refund", "chargeback"]
"""Why bought credits leave again: the money was given back, or fetched back by the buyer's bank."""
HoldState = Literal["open", "captured", "released", "expired"]


class Transfer(msgspec.Struct, frozen=True):
    """One row of table `credit_transfer`: `amount` credits went from one account to another."""

    id: UUID
    key: str
    """Idempotency key: the same key is the same transfer."""
    kind: TransferKind
    owner_id: UUID
    debit_id: UUID
    credit_id: UUID
    amount: int
    """At least 1."""
    reason: str
    balance_after: int
    """What the owner has after it, held credits included."""
    created_at: datetime
    job_id: UUID | None = None
    hold_id: UUID | None = None
    order_id: str | None = None


class Hold(msgspec.Struct, frozen=True):
    """Credits set aside: they are still the owner's, and can be spent on nothing else."""

    id: UUID
    owner_id: UUID
    amount: int
    state: HoldState
    captured: int
    """How much of it was charged in the end."""
    created_at: datetime
    job_id: UUID | None = None
    expires_at: datetime | None = None
    """None: it ends with its job alone."""


class Balance(msgspec.Struct, frozen=True):
    """What somebody has."""

    balance: int
    """All of it. Below zero only when bought credits were spent and their money went back."""
    held: int
    """Set aside for jobs that have not ended."""

    @property
    def available(self) -> int:
        return self.balance - self.held


class StatementLine(msgspec.Struct, frozen=True):
    """One change of what somebody has, as they see it."""

    id: UUID
    type: LineType
    amount: int
    """Above zero when credits came, below when they went."""
    reason: str
    balance_after: int
    created_at: datetime
    job_id: UUID | None = None
