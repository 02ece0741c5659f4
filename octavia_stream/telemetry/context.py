"""The ids under which logs and traces know what they tell of, and their way from process to process."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import structlog

from octavia_stream.telemetry.tracing import Span, span, traceparent

MAX_LENGTH = 64
CARRIED = ("job_id", "request_id", "created_request_id")
"""What goes along with a call to a replica."""
TRACEPARENT = "traceparent"

Carried: TypeAlias = Mapping[str, str] | None
"""What a call brings of its caller's ids; None: nothing."""


def request_id() -> str | None:
    """Of the request that is being answered, if there is one."""
    found = structlog.contextvars.get_contextvars().get("request_id")
    return str(found)[:MAX_LENGTH] if found is not None else None


def carried() -> dict[str, str]:
    """What a call from here takes along."""
    bound = structlog.contextvars.get_contextvars()
    ids = {name: str(bound[name]) for name in CARRIED if bound.get(name) is not None}
    parent = traceparent()
    return ids if parent is None else {**ids, TRACEPARENT: parent}


@contextmanager
def taken_up(brought: Carried, name: str) -> Iterator[Span]:
    """Around the answer to a call: log lines carry the caller's ids, and its trace goes on in a span of this name."""
    ids = {key: value for key, value in (brought or {}).items() if key in CARRIED}
    with (
        structlog.contextvars.bound_contextvars(**ids),
        span(name, parent=(brought or {}).get(TRACEPARENT), side="asked") as started,
    ):
        yield started
