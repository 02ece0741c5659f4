"""Errors below `/v1`, in the shape that OpenAI's clients read. Everywhere else errors are problem details."""

from typing import Any

import msgspec
from litestar import Request, Response
from litestar.openapi.datastructures import ResponseSpec

from api.errors import INTERNAL_ERROR, Problem, headers_of, log, problem_of, problem_response
from octavia_stream.errors import NotFound

PREFIX = "/v1/"
UNPROCESSABLE = 422
BAD_REQUEST = 400


class OpenAIFault(msgspec.Struct, frozen=True):
    """What went wrong. `code` is this server's own, as in problem details, where OpenAI has none."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(msgspec.Struct, frozen=True):
    """An error as OpenAI's API gives it."""

    error: OpenAIFault


class ModelUnknown(NotFound):
    """There is no such model here."""

    code = "model_not_found"


_TYPES = {401: "authentication_error", 402: "insufficient_quota", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {"unauthorized": "invalid_api_key", "insufficient_credits": "insufficient_quota"}


def error_response(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """The exception handler for everything: in the shape that belongs to the path."""
    path = request.scope["path"]
    if not path.startswith(PREFIX):
        return problem_response(request, error)
    problem = problem_of(error, path)
    if problem.code == INTERNAL_ERROR:
        log.error("request_failed", code=problem.code, exc_info=error)
    # OpenAI's API refuses files with 400.
    status = BAD_REQUEST if problem.status == UNPROCESSABLE else problem.status
    return Response(
        OpenAIError(fault_of(problem)),
        status_code=status,
        media_type="application/json",
        headers=headers_of(error, problem.status),
    )


def fault_of(problem: Problem) -> OpenAIFault:
    """The same in OpenAI's words."""
    kind = _TYPES.get(problem.status, "invalid_request_error" if problem.status < 500 else "server_error")
    first = problem.errors[0] if problem.errors else None
    message = f"{first.where}: {first.message}" if first else problem.detail
    return OpenAIFault(message, kind, first.where if first else None, _CODES.get(problem.code, problem.code))


def openai_problems(*statuses: int) -> dict[int, ResponseSpec]:
    """The `responses` of a route for OpenAPI: these, and those that any route may give."""
    return {
        status: ResponseSpec(
            data_container=OpenAIError,
            description="An error in OpenAI's shape.",
            media_type="application/json",
            generate_examples=False,
        )
        for status in sorted({*statuses, 400, 401, 403, 500, 503})
    }
