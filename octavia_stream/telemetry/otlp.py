"""Spans to a collector over OTLP, through OpenTelemetry; loaded when a collector is named."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from octavia_stream.errors import OctaviaError
from octavia_stream.telemetry.tracing import Side, Span

EXPORT_EVERY_MS = 1000
EXPORT_TIMEOUT_S = 2
_KINDS: Mapping[Side, SpanKind] = {
    "inside": SpanKind.INTERNAL,
    "asked": SpanKind.SERVER,
    "asking": SpanKind.CLIENT,
}


class Otlp:
    """One process's spans. A collector that is away costs spans and nothing else."""

    def __init__(self, endpoint: str, service: str, share: float) -> None:
        """endpoint: of the collector, without `/v1/traces`. share: of traces that begin here, from 0 to 1."""
        self._provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(share),
            resource=Resource.create({"service.name": service}),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_EVERY_MS))
        self._tracer = self._provider.get_tracer("octavia_stream")
        self._wire = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self, name: str, parent: str | None, side: Side, attributes: Mapping[str, str | int | float]
    ) -> Iterator[Span]:
        """As `tracing.span`."""
        context = self._wire.extract({"traceparent": parent}, Context()) if parent is not None else None
        with self._tracer.start_as_current_span(
            name,
            context,
            _KINDS[side],
            dict(attributes),
            # Messages and tracebacks of errors may hold what was said: only codes go out.
            record_exception=False,
            set_status_on_exception=False,
        ) as started:
            ours = _OtlpSpan(started)
            try:
                yield ours
            except OctaviaError as error:
                ours.fail(error.code)
                raise
            except Exception as error:
                ours.fail(type(error).__name__)
                raise

    def traceparent(self) -> str | None:
        """As `tracing.traceparent`."""
        carrier: dict[str, str] = {}
        self._wire.inject(carrier)
        return carrier.get("traceparent")

    def close(self) -> None:
        """Send what waits. May take `EXPORT_TIMEOUT_S`."""
        self._provider.force_flush(EXPORT_TIMEOUT_S * 1000)
        self._provider.shutdown()


class _OtlpSpan(Span):
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, **attributes: str | int | float) -> None:
        self._span.set_attributes(attributes)

    def fail(self, code: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, code))
