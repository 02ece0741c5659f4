"""Account: somebody who can log in."""

from datetime import datetime
from uuid import UUID

import msgspec


class Account(msgspec.Struct, frozen=True):
    """One row of table `account`, without the password."""

    id: UUID
    email: str
    """In normal form: NFC, lower case, no blanks around it."""
    created_at: datetime
