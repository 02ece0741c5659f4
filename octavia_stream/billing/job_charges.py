"""What jobs cost: credits are held when a job starts, and charged for what it delivered when it ends."""

import math
from typing import Any

import msgspec

from octavia_stream.billing import ledger
from octavia_stream.billing.prices import PricingTiers
from octavia_stream.config import BillingSettings, MediaSettings
from octavia_stream.database.pool import Connection
from octavia_stream.jobs.job import Job, JobKind, JobStatus, dubbed_languages, seconds_of
from octavia_stream.jobs.versions import Spans, spans_under_way
from octavia_stream.media.info import MediaInfo

_MEDIA_INFO = "select media_info from upload where id = $1"

TOLERATED_RATIO = 2
TOLERATED_S = 5

REASONS: dict[JobStatus, str] = {"failed": "The job failed.", "cancelled": "The job was cancelled."}


class Quote(msgspec.Struct, frozen=True):
    """What a job will be held for. It never costs more."""

    seconds: float
    """Of sound, as the file says; the longest this server takes when it does not."""
    credits: int
    exact: bool
    """False when the file does not say how long it is: then only what is delivered is charged, and that is less."""


class JobCharges:
    """The `Charges` of jobs, by a table of prices."""

    def __init__(self, prices: PricingTiers, settings: BillingSettings, longest_s: float) -> None:
        """longest_s: seconds of sound that no file may exceed."""
        self.prices = prices
        self._enabled = settings.enabled
        self._longest_s = longest_s

    def quote(self, kind: JobKind, media_info: dict[str, Any] | None) -> Quote:
        """media_info: what was found in the upload, as it is stored."""
        said_s = float((media_info or {}).get("duration_s") or 0.0)
        exact = said_s > 0
        seconds = said_s if exact else self._longest_s
        return Quote(seconds, self.prices.quote(kind, seconds) if self._enabled else 0, exact)

    def quote_job(self, job: Job, media_info: dict[str, Any] | None) -> Quote:
        """As `quote`, for what a job was asked for: a part of the file, in some languages."""
        whole = self.quote(job.kind, media_info)
        seconds = seconds_of(job.options, whole.seconds)
        price = self.prices.quote(job.kind, seconds) * len(dubbed_languages(job.options)) if self._enabled else 0
        return Quote(seconds, price, whole.exact)

    def quote_edit(self, kind: JobKind, spans: Spans) -> int:
        """What an edit of a finished dub costs: what was edited of each language, none of it twice."""
        parts = (self.prices.quote_parts(kind, of_one) for of_one in spans.values())
        return sum(parts) if self._enabled else 0

    def limits(self, settings: MediaSettings, info: MediaInfo) -> MediaSettings:
        """`settings` for decoding a file that said how long it is: much more sound than was quoted is not for free.

        Lengths of some files are estimates (MP3 without an index), so up to twice as much is let through.
        """
        if not self._enabled or info.duration_s <= 0:
            return settings
        longest_s = math.ceil(info.duration_s * TOLERATED_RATIO + TOLERATED_S)
        return settings.model_copy(update={"max_duration_s": min(settings.max_duration_s, longest_s)})

    async def submitted(self, connection: Connection, job: Job) -> None:
        if not self._enabled:
            return
        spans = await spans_under_way(connection, job.id)
        if spans is not None:
            price = self.quote_edit(job.kind, spans)
        else:
            price = self.quote_job(job, await connection.fetchval(_MEDIA_INFO, job.upload_id)).credits
        if price:
            # No worker ever had it: the first submission. Each run that was asked for later has an epoch of its own.
            key = f"reserve/{job.id}/{job.epoch}" if job.epoch else f"reserve/{job.id}"
            await ledger.reserve(connection, job.owner_id, price, key=key, reason=job.kind, job_id=job.id)

    async def ended(self, connection: Connection, job: Job) -> None:
        """Also when billing was switched off since the job was submitted: what is held must not stay so."""
        hold = await ledger.hold_of_job(connection, job.id)
        if hold is None:
            return
        if job.status != "completed":
            await ledger.release(connection, hold, reason=REASONS[job.status])
            return
        edited = await spans_under_way(connection, job.id) is not None
        due = hold.amount if edited else min(hold.amount, self._due(job, hold.amount))
        await ledger.capture(connection, hold, due, reason=job.kind)

    def _due(self, job: Job, quoted: int) -> int:
        """The price of what was delivered, by the length that was decoded; as quoted when the report has none."""
        samples, rate_hz = job.report.get("samples"), job.report.get("rate_hz")
        if not (isinstance(samples, int) and isinstance(rate_hz, int) and rate_hz > 0):
            return quoted
        return self.prices.quote(job.kind, samples / rate_hz) * len(dubbed_languages(job.options))
