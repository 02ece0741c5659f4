"""Spans: what was done, in which process, as part of what. Off, unless a collector is named: then nothing is loaded.

A trace crosses processes as a W3C `traceparent`: a client's header, the job's row, an argument of calls to replicas.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias

from octavia_stream.config import TelemetrySettings
from octavia_stream.errors import InvalidRequest

if TYPE_CHECKING:
    from octavia_stream.telemetry.otlp import Otlp

Attributes: TypeAlias = dict[str, str | int | float]
Side: TypeAlias = Literal["inside", "asked", "asking"]
"""What a span is: a step within a process, the answer to another process, or a question to one."""

_otlp: "Otlp | None" = None


def start_tracing(settings: TelemetrySettings, role: str) -> None:
    """Call it once, from an entry point. role: `api`, `worker`, `asr` …; spans are `octavia-{role}`'s.

    Raises InvalidRequest when a collector is named and what is needed to reach it is not installed.
    """
    global _otlp  # noqa: PLW0603  (one per process, as its log)
    if settings.otlp_endpoint is None or _otlp is not None:
        return
    try:
        from octavia_stream.telemetry.otlp import Otlp  # noqa: PLC0415 - optional
    except ImportError as error:
        raise InvalidRequest("Traces need more: pip install 'octavia-stream[telemetry]'.") from error
    _otlp = Otlp(settings.otlp_endpoint, f"octavia-{role}", settings.traced_share)


def stop_tracing() -> None:
    """Send what waits, for two seconds at most. May be called twice."""
    global _otlp
    otlp, _otlp = _otlp, None
    if otlp is not None:
        otlp.close()


class Span:
    """One that is under way; without tracing it does nothing."""

    def rename(self, name: str) -> None:
        """It is known only now what this is."""

    def set(self, **attributes: str | int | float) -> None:
        """Say more of it. Never ids of people, never speech."""

    def fail(self, code: str) -> None:
        """It did not work out. code: of the error; its message may hold what was said."""


_NOTHING = Span()


@contextmanager
def span(
    name: str, *, parent: str | None = None, side: Side = "inside", attributes: Attributes | None = None
) -> Iterator[Span]:
    """A span around the block. parent: a `traceparent`; None: the span that is under way here, or none."""
    if _otlp is None:
        yield _NOTHING
        return
    with _otlp.span(name, parent, side, attributes or {}) as started:
        yield started


def traceparent() -> str | None:
    """Of the span that is under way here."""
    return None if _otlp is None else _otlp.traceparent()
