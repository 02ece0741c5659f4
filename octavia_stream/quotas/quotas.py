"""Quotas: asked within the transaction that takes what they bound, so that nobody ever gets more.

Whoever is about to take something calls one of the functions of `Quotas` with the connection of its open transaction.
It waits until no other transaction of this owner is between its question and its commit, counts, and raises
QuotaExceeded or returns. What is counted is rows that exist: there is no counter that could go wrong.

owner_id: whose jobs and uploads they are, an account or a team. Locks are taken in this order: a job's row, this one,
the ledger's.
"""

from collections.abc import Mapping
from uuid import UUID

from octavia_stream.config import LimitSettings, TierSettings
from octavia_stream.database.pool import Connection, Database, Row
from octavia_stream.errors import NotFound, QuotaExceeded, TooManySessions
from octavia_stream.quotas.usage import Quota, QuotaName, Usage

STANDARD = "standard"
"""The tier of whoever was given no other."""
WINDOW_DAYS = 30
"""Sound is counted over this many days back."""
UPLOAD_OPEN_H = 24
"""How long an upload that nobody closes counts as open."""

# Held until the transaction ends. A row of the owner would do too, but whoever deletes an account holds that one
# while waiting for its jobs.
_LOCK = "select pg_advisory_xact_lock(hashtextextended('octavia/quota/' || $1::uuid::text, 0))"
_USED = f"""
select
    (select tier from tenant where id = $1) as tier,
    (select count(*) from job where owner_id = $1 and id is distinct from $2
        and submitted_at is not null and status in ('pending', 'processing')) as concurrent_jobs,
    (select count(*) from open_upload where owner_id = $1 and expires_at > now()) as open_uploads,
    (select count(*) from live_session where owner_id = $1 and status <> 'ended') as live_sessions,
    (select coalesce(sum(size), 0) from upload where owner_id = $1)
        + (select coalesce(sum(stored_bytes), 0) from job where owner_id = $1 and stored_bytes > 0)
        + (select coalesce(sum(older.stored_bytes), 0) from job_version older join job on job.id = older.job_id
            where job.owner_id = $1 and older.number < job.version)
        + (select coalesce(sum(size), 0) from open_upload where owner_id = $1 and expires_at > now()) as storage_bytes,
    (select coalesce(sum(seconds), 0) from sound_use
        where owner_id = $1 and taken_at > now() - interval '{WINDOW_DAYS} days') as sound_seconds
"""  # noqa: S608  (a constant of this file)
_TAKE_SOUND = "insert into sound_use (job_id, owner_id, seconds) values ($1, $2, $3)"
_SETTLE_SOUND = "update sound_use set seconds = $2, settled_at = now() where job_id = $1 and settled_at is null"
_CLOSE_SOUND = "update sound_use set settled_at = now() where job_id = $1 and settled_at is null"
_SETTLE_LOST = """
update sound_use set seconds = 0, settled_at = now()
where settled_at is null and taken_at <= now() - make_interval(secs => $1)
    and not exists (select from job where job.id = sound_use.job_id)
returning id
"""
_FORGET_SOUND = f"""
delete from sound_use where owner_id = $1 and settled_at is not null
    and taken_at <= now() - interval '{WINDOW_DAYS} days'
"""  # noqa: S608
_OPEN_UPLOAD = """
insert into open_upload (id, owner_id, size, expires_at) values ($1, $2, $3, now() + make_interval(hours => $4))
"""
_CLOSE_UPLOAD = "delete from open_upload where id = $1"
_FORGET_UPLOADS = "delete from open_upload where owner_id = $1 and expires_at <= now()"
_TIER = "select tier from tenant where id = $1"
_SET_TIER = "update tenant set tier = $2 where id = $1 returning id"


class Quotas:
    """The quotas of one server. Functions with a connection raise QuotaExceeded, and take nothing then."""

    def __init__(self, settings: LimitSettings) -> None:
        self._tiers: Mapping[str, TierSettings] = {**settings.tiers, STANDARD: settings.standard}

    def tier(self, name: str | None) -> TierSettings:
        """What a tier allows; one that the settings do not know (any more) allows what the standard does."""
        return self._tiers.get(name or STANDARD, self._tiers[STANDARD])

    async def admit_job(self, connection: Connection, owner_id: UUID, job_id: UUID, seconds: float) -> None:
        """A job is about to be submitted, on this much sound, which counts from now on."""
        usage = await self._locked(connection, owner_id, job_id)
        _require(usage.quota("concurrent_jobs"), 1)
        _require(usage.quota("storage_bytes"), 0)
        _require(usage.quota("sound_seconds"), round(seconds))
        await connection.execute(_FORGET_SOUND, owner_id)
        await connection.execute(_TAKE_SOUND, job_id, owner_id, seconds)

    async def admit_call(self, connection: Connection, owner_id: UUID, call_id: UUID, seconds: float) -> None:
        """Sound that is worked on at once is about to be taken; settled like a job's, under the call's id."""
        usage = await self._locked(connection, owner_id)
        _require(usage.quota("sound_seconds"), round(seconds))
        await connection.execute(_FORGET_SOUND, owner_id)
        await connection.execute(_TAKE_SOUND, call_id, owner_id, seconds)

    async def admit_session(self, connection: Connection, owner_id: UUID, seconds: float) -> None:
        """A live session is about to be recorded; what it hears counts at its end. seconds: that it is sure to have.

        Raises TooManySessions, which a later call may not meet.
        """
        usage = await self._locked(connection, owner_id)
        sessions = usage.quota("live_sessions")
        if sessions.limit is not None and sessions.used >= sessions.limit:
            raise TooManySessions(_SENTENCES["live_sessions"].format(limit=sessions.limit), sessions, 1)
        _require(usage.quota("sound_seconds"), round(seconds))
        await connection.execute(_FORGET_SOUND, owner_id)

    async def settle_job(self, connection: Connection, job_id: UUID, seconds: float | None) -> None:
        """A job has ended: what counts is this much; None: what it was submitted with. Raises nothing."""
        if seconds is None:
            await connection.execute(_CLOSE_SOUND, job_id)
        else:
            await connection.execute(_SETTLE_SOUND, job_id, seconds)

    async def settle_lost_calls(self, database: Database, lifetime_s: float) -> int:
        """Calls that nobody settled for so long were lost, and count for nothing. Returns how many."""
        return len(await database.fetch(_SETTLE_LOST, lifetime_s))

    async def admit_upload(self, connection: Connection, owner_id: UUID, size: int) -> None:
        """A file of this many bytes is about to be recorded."""
        usage = await self._locked(connection, owner_id)
        _require(usage.quota("storage_bytes"), size)

    async def open_upload(self, connection: Connection, owner_id: UUID, upload_id: UUID, size: int) -> None:
        """An upload of this size (0: unknown) begins that will come in pieces: room for it is kept until it is closed.

        Nobody who opens one and goes away keeps the room longer than `UPLOAD_OPEN_H`.
        """
        usage = await self._locked(connection, owner_id)
        _require(usage.quota("open_uploads"), 1)
        _require(usage.quota("storage_bytes"), size)
        await connection.execute(_FORGET_UPLOADS, owner_id)
        await connection.execute(_OPEN_UPLOAD, upload_id, owner_id, size, UPLOAD_OPEN_H)

    async def close_upload(self, connection: Connection, upload_id: UUID) -> None:
        """It is no longer open: recorded in the same transaction, after this, or given up. Raises nothing."""
        await connection.execute(_CLOSE_UPLOAD, upload_id)

    async def usage(self, database: Database, owner_id: UUID) -> Usage:
        """What the owner uses now."""
        return self._usage(await database.fetchrow(_USED, owner_id, None))

    async def require_room(self, database: Database, owner_id: UUID, size: int) -> None:
        """Refuse early what would be refused later. Promises nothing: others may take the room meanwhile."""
        _require((await self.usage(database, owner_id)).quota("storage_bytes"), size)

    async def tier_of(self, database: Database, owner_id: UUID) -> str | None:
        """The name of the owner's tier; None when there is no such owner."""
        tier: str | None = await database.fetchval(_TIER, owner_id)
        return tier

    async def set_tier(self, connection: Connection, owner_id: UUID, tier: str) -> None:
        """Give an account or a team another tier. Raises NotFound when it or the tier does not exist."""
        if tier not in self._tiers:
            raise NotFound(f"There is no tier of this name; there are {', '.join(sorted(self._tiers))}.")
        if await connection.fetchrow(_SET_TIER, owner_id, tier) is None:
            raise NotFound("There is no such account or team.")

    async def _locked(self, connection: Connection, owner_id: UUID, job_id: UUID | None = None) -> Usage:
        # A statement of its own: the next one then sees what the owner's other transactions did.
        await connection.execute(_LOCK, owner_id)
        return self._usage(await connection.fetchrow(_USED, owner_id, job_id))

    def _usage(self, row: Row | None) -> Usage:
        found = dict(row or {})
        tier = self.tier(found["tier"])
        limits: dict[QuotaName, int] = {
            "concurrent_jobs": tier.concurrent_jobs,
            "open_uploads": tier.open_uploads,
            "storage_bytes": tier.storage_bytes,
            "sound_seconds": tier.sound_minutes * 60,
            "live_sessions": tier.live_sessions,
        }
        quotas = tuple(Quota(name, limit or None, round(found[name])) for name, limit in limits.items())
        return Usage(found["tier"] if found["tier"] in self._tiers else STANDARD, quotas)


def _require(quota: Quota, asked: int) -> None:
    """Raises QuotaExceeded when there is not this much left, or, asked for nothing, more is used than allowed."""
    if quota.limit is not None and quota.used + asked > quota.limit:
        raise QuotaExceeded(
            _SENTENCES[quota.name].format(limit=quota.limit, used=quota.used, asked=asked), quota, asked
        )


_SENTENCES: dict[QuotaName, str] = {
    "concurrent_jobs": "{used} of your {limit} jobs at a time wait or run; let one end, or cancel it.",
    "open_uploads": "{used} of your {limit} uploads at a time are open; finish one, or end it.",
    "storage_bytes": "{used} of your {limit} bytes are used and this needs {asked}; delete jobs or uploads.",
    "sound_seconds": (
        f"{{used}} of your {{limit}} seconds of sound in {WINDOW_DAYS} days are used and this needs {{asked}};"
        " wait, or ask for more."
    ),
    "live_sessions": "You have {limit} live sessions already; end one, or let it end.",
}
