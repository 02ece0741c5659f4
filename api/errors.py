"""One table: our error → HTTP status, problem details (RFC 9457), WebSocket close code.

Every error that leaves the api has this shape, whoever raised it; an exception nobody foresaw becomes
a 500 that says nothing of the inside.
"""

from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec

from octavia_stream import errors
from octavia_stream.quotas.usage import Quota, QuotaName

PROBLEM_JSON = "application/problem+json"
TYPE_PREFIX = "urn:octavia-stream:problem:"
INTERNAL_ERROR = "internal_error"
CHECKSUM_MISMATCH = 460
"""A status that tus has for itself."""
RETRY_AFTER_S = 2

STATUS: dict[type[errors.OctaviaError], int] = {
    errors.InvalidRequest: 400,
    errors.Unauthorized: 401,
    errors.InsufficientCredits: 402,
    errors.Forbidden: 403,
    errors.QuotaExceeded: 403,
    errors.TooManySessions: 429,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.JobCancelled: 409,
    errors.OutOfDate: 412,
    errors.LeaseLost: 409,
    errors.MediaTooLarge: 413,
    errors.MediaRejected: 422,
    errors.KeyReused: 422,
    errors.AddressRefused: 422,
    errors.SourceUnavailable: 422,
    errors.SubtitlesRejected: 422,
    errors.NoSpeech: 422,
    errors.UnsupportedLanguage: 422,
    errors.ModelMissing: 422,
    errors.ModelCorrupt: 500,
    errors.RateLimited: 429,
    errors.ChecksumMismatch: CHECKSUM_MISMATCH,
    errors.EngineUnavailable: 503,
    errors.MediaProcessLost: 503,
    errors.Overloaded: 503,
    errors.StorageUnavailable: 503,
    errors.DependencyUnavailable: 503,
    errors.StorageFull: 507,
}

CLOSE_UNAUTHENTICATED = 4401
CLOSE_FORBIDDEN = 4403
CLOSE_NOT_FOUND = 4404
CLOSE_INVALID = 4400
CLOSE_TOO_MANY = 4429
CLOSE_INTERNAL = 1011
CLOSE_RESTARTING = 1012
CLOSE_TRY_AGAIN = 1013

CLOSE_CODE: dict[type[errors.OctaviaError], int] = {
    errors.InvalidRequest: CLOSE_INVALID,
    errors.Unauthorized: CLOSE_UNAUTHENTICATED,
    errors.Forbidden: CLOSE_FORBIDDEN,
    errors.NotFound: CLOSE_NOT_FOUND,
    errors.DependencyUnavailable: CLOSE_TRY_AGAIN,
    errors.RateLimited: CLOSE_TOO_MANY,
}

log = structlog.stdlib.get_logger(__name__)


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong, and where."""

    where: str
    """A field, a parameter or a service; empty when it is the whole."""
    message: str


class QuotaFault(msgspec.Struct, frozen=True):
    """A bound that does not leave room for what was asked."""

    name: QuotaName
    limit: int
    used: int
    asked: int
    """How much more it would have been."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Problem details, RFC 9457. `code` is ours: stable, and one per kind of error."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[Fault] = []
    """What is wrong one by one: fields of the request, or services that are away."""
    quota: QuotaFault | None = None
    """Which bound stands in the way, where one does."""


class NotReady(Exception):
    """Services that this server needs do not answer."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("These do not answer: " + ", ".join(fault.where for fault in faults) + ".")
        self.faults = faults


def problem_response(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """The exception handler for everything: an answer of type `application/problem+json`."""
    problem = problem_of(error, request.scope["path"])
    if problem.code == INTERNAL_ERROR:
        log.error("request_failed", code=problem.code, exc_info=error)
    return Response(
        problem,
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers=headers_of(error, problem.status),
    )


def problem_of(error: Exception, path: str) -> Problem:
    """What to tell the client about `error`. path: of the request, without its query."""
    if isinstance(error, errors.OctaviaError):
        problem = _problem(status_of(error), error.code, str(error), path)
        return msgspec.structs.replace(problem, quota=_quota_fault(error))
    if isinstance(error, HTTPException) and error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return _http_problem(error, path)
    if isinstance(error, NotReady):
        return _problem(503, "not_ready", str(error), path, error.faults)
    if isinstance(error, RecursionError):
        # Nothing here recurses but the parser of bodies.
        return _problem(400, "invalid_request", "The body is nested too deeply.", path)
    if isinstance(error, (ConnectionError, TimeoutError)):
        return problem_of(errors.DependencyUnavailable(), path)
    return _problem(500, INTERNAL_ERROR, "The server made a mistake; it is in its log.", path)


def _quota_fault(error: errors.OctaviaError) -> QuotaFault | None:
    if not isinstance(error, errors.QuotaExceeded) or not isinstance(error.quota, Quota) or error.quota.limit is None:
        return None
    return QuotaFault(error.quota.name, error.quota.limit, error.quota.used, error.asked)


def status_of(error: errors.OctaviaError) -> int:
    """The status of the nearest class in the table."""
    return next((STATUS[cls] for cls in type(error).__mro__ if cls in STATUS), 500)


def close_code_of(error: errors.OctaviaError) -> int:
    """The WebSocket close code of the nearest class in the table."""
    return next((CLOSE_CODE[cls] for cls in type(error).__mro__ if cls in CLOSE_CODE), CLOSE_INTERNAL)


def _problem(status: int, code: str, detail: str, path: str, fields: list[Fault] | None = None) -> Problem:
    return Problem(
        type=TYPE_PREFIX + code,
        title="Checksum Mismatch" if status == CHECKSUM_MISMATCH else HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=path,
        code=code,
        errors=fields or [],
    )


def _http_problem(error: HTTPException, path: str) -> Problem:
    """Litestar's own errors: unknown route, wrong method, too large, not valid."""
    status = error.status_code
    code = HTTPStatus(status).phrase.lower().replace(" ", "_").replace("'", "")
    if isinstance(error, ValidationException):
        return _problem(400, "invalid_request", "The request is not valid.", path, _fields(error.extra))
    if status == HTTPStatus.BAD_REQUEST:
        return _problem(400, "invalid_request", error.detail, path)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return _problem(413, "media_too_large", "The request is larger than this server accepts.", path)
    return _problem(status, code, error.detail or HTTPStatus(status).phrase, path)


def _fields(extra: object) -> list[Fault]:
    """What Litestar found wrong, one entry for each field."""
    found = extra if isinstance(extra, list) else []
    return [
        Fault(str(entry.get("key") or ""), str(entry.get("message") or "is not valid"))
        for entry in found
        if isinstance(entry, dict)
    ]


def headers_of(error: Exception, status: int) -> dict[str, str]:
    """What goes with the answer to `error`."""
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if isinstance(error, errors.RateLimited):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, errors.TooManySessions):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


_DESCRIPTIONS = {
    400: "The request is not valid.",
    401: "No valid token.",
    402: "There are not enough credits for this.",
    403: "This is not allowed, or not to this API key, or more than a quota leaves.",
    404: "There is no such thing, or it is not yours.",
    406: "There is nothing to send in that form.",
    409: "The thing is not in a state that allows this.",
    413: "Larger or longer than this server accepts.",
    415: "The body is of a type this route does not take.",
    412: "A header such as `Tus-Resumable` or `If-Match` does not say what it must.",
    416: "The range lies outside the file.",
    429: "These are too many requests, or this was tried too often; try again after `Retry-After`.",
    422: "Understood, and it cannot be done.",
    428: "The header `If-Match` is missing.",
    460: "What came is not what was sent.",
    500: "The server made a mistake.",
    503: "Something the server needs is away; try again after `Retry-After`.",
    507: "There is no space left.",
}


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """The `responses` of a route for OpenAPI: these, and those that any route may give.

    Who can be nobody (401) can also be a key that is not for this (403).
    """
    barred = {403} if 401 in statuses else set[int]()
    return {
        status: ResponseSpec(
            data_container=Problem,
            description=_DESCRIPTIONS[status],
            media_type=PROBLEM_JSON,
            generate_examples=False,
        )
        for status in sorted({*statuses, *barred, 400, 429, 500, 503})
    }
