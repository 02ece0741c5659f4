"""Every error raised on purpose.

`retryable` says whether the same call may succeed later without the caller
changing anything. The message is one sentence a user can act on: no path of
this machine, no traceback, no transcript.
"""

from typing import ClassVar


class OctaviaError(Exception):
    """Something octavia-stream refuses or cannot do."""

    retryable: ClassVar[bool] = False
    code: ClassVar[str] = "error"
    """Stable machine name, `snake_case`; part of the wire format."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__ or self.code)

    def __reduce__(self) -> tuple[type["OctaviaError"], tuple[str]]:
        # Errors cross process borders (Ray pickles them): the message is all they carry.
        return type(self), (str(self),)


class InvalidRequest(OctaviaError):
    """The request is not valid."""

    code = "invalid_request"


class NotFound(OctaviaError):
    """There is no such thing, or it is not yours."""

    code = "not_found"


class Conflict(OctaviaError):
    """The thing is not in a state that allows this."""

    code = "conflict"


class Unauthorized(OctaviaError):
    """Log in first."""

    code = "unauthorized"


class Forbidden(OctaviaError):
    """This is not allowed."""

    code = "forbidden"


class AddressRefused(OctaviaError):
    """The address leads to a place where this server does not go."""

    code = "address_refused"


class SourceUnavailable(OctaviaError):
    """The server that has the file does not answer. No fault of ours that a client should ask again for by itself."""

    code = "source_unavailable"


class InsufficientCredits(OctaviaError):
    """There are not enough credits for this."""

    code = "insufficient_credits"


class QuotaExceeded(OctaviaError):
    """This would be more than your quota allows."""

    code = "quota_exceeded"

    def __init__(self, message: str | None = None, quota: object = None, asked: int = 0) -> None:
        """quota: the bound and what is used of it, as `octavia_stream.quotas` has it; asked: how much more."""
        super().__init__(message)
        self.quota = quota
        self.asked = asked


class TooManySessions(QuotaExceeded):
    """You have too many live sessions at once; end one."""

    retryable = True
    code = "too_many_sessions"


class KeyReused(OctaviaError):
    """This Idempotency-Key was used for another request; take a new one."""

    code = "idempotency_key_reused"


class MediaRejected(OctaviaError):
    """The file cannot be used."""

    code = "media_rejected"


class MediaTooLarge(MediaRejected):
    """The file is larger or longer than this server accepts."""

    code = "media_too_large"


class SubtitlesRejected(MediaRejected):
    """The subtitle file cannot be used."""

    code = "subtitles_rejected"


class ChecksumMismatch(OctaviaError):
    """What came is not what was sent; send this piece again."""

    code = "checksum_mismatch"


class NoSpeech(MediaRejected):
    """There is no speech in this file."""

    code = "no_speech"


class UnsupportedLanguage(OctaviaError):
    """There is no model for this language or pair of languages."""

    code = "unsupported_language"


class ModelMissing(OctaviaError):
    """A model is not installed."""

    code = "model_missing"


class ModelCorrupt(OctaviaError):
    """A model's files are not the ones the catalogue names."""

    code = "model_corrupt"


class EngineUnavailable(OctaviaError):
    """A model server died or is not ready; a retry helps."""

    retryable = True
    code = "engine_unavailable"


class MediaProcessLost(EngineUnavailable):
    """The process that reads media was stopped; a retry helps."""

    code = "media_process_lost"


class Overloaded(OctaviaError):
    """Every queue is full; a retry later helps."""

    retryable = True
    code = "overloaded"


class RateLimited(OctaviaError):
    """This was tried too often; wait a while."""

    retryable = True
    code = "rate_limited"

    def __init__(self, message: str | None = None, retry_after_s: int = 60) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StorageUnavailable(OctaviaError):
    """The object store cannot be reached; a retry helps."""

    retryable = True
    code = "storage_unavailable"


class StorageFull(OctaviaError):
    """There is no space left to store this."""

    code = "storage_full"


class LeaseLost(OctaviaError):
    """Another worker owns this job now; whatever this one still does is void."""

    code = "lease_lost"


class OutOfDate(OctaviaError):
    """The thing is another by now than the request says."""

    code = "out_of_date"


class JobCancelled(OctaviaError):
    """The job was cancelled."""

    code = "cancelled"


class DependencyUnavailable(OctaviaError):
    """Postgres, Redis or another service cannot be reached; a retry helps."""

    retryable = True
    code = "dependency_unavailable"
