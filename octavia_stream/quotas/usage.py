"""Usage: what an owner uses, beside what the owner's tier allows."""

from typing import Literal, TypeAlias

import msgspec

QuotaName: TypeAlias = Literal["concurrent_jobs", "open_uploads", "storage_bytes", "sound_seconds", "live_sessions"]


class Quota(msgspec.Struct, frozen=True):
    """One bound."""

    name: QuotaName
    limit: int | None
    """None: there is no bound."""
    used: int

    @property
    def left(self) -> int | None:
        """What may still be taken; None: anything."""
        return None if self.limit is None else max(0, self.limit - self.used)


class Usage(msgspec.Struct, frozen=True):
    """What one owner uses."""

    tier: str
    quotas: tuple[Quota, ...]

    def quota(self, name: QuotaName) -> Quota:
        return next(quota for quota in self.quotas if quota.name == name)
