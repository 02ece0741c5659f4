"""UUIDs that sort by the time they were made (RFC 9562, version 7).

Made here and not by the database, for `uuidv7()` is new in Postgres 18.
"""

import secrets
import time
from uuid import UUID


def uuid7() -> UUID:
    """A new id: 48 bits of milliseconds, 12 bits of the fraction of the millisecond (section 6.2, method 3), chance."""
    now_ns = time.time_ns()
    milliseconds, rest_ns = divmod(now_ns, 1_000_000)
    fraction = rest_ns * 4096 // 1_000_000
    value = (milliseconds & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return UUID(int=value)
