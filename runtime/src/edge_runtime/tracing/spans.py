"""OpenTelemetry spans: one for each request, each stage at this node and each hop.

The only module that imports OpenTelemetry. Spans are exported from a separate thread with a bounded queue: a
slow or unreachable collector costs spans and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace.span import TraceState

from edge_runtime.errors import HopLate, LinkBusy
from edge_runtime.metrics import Metrics, ProcessMetrics
from edge_runtime.serving import VERSION
from edge_runtime.tracing.contexts import Trace, TraceContext, current

Attributes = Mapping[str, str | bool | int | float]

_CLOSE_WITHIN: Final = 2.0
_OUTCOMES: Final[Mapping[type[BaseException], str]] = {HopLate: "late", LinkBusy: "busy"}


class Spans:
    """The spans of one service at this node."""

    def __init__(
        self,
        service: str,
        processor: SpanProcessor,
        environment: Mapping[str, str],
        give_up: Callable[[], None] = lambda: None,
    ) -> None:
        """give_up: ends an export that waits to be tried again."""
        named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        resource = Resource.create({} if named else {SERVICE_NAME: service})
        self.service = service
        self._give_up = give_up
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self.tracer = self._provider.get_tracer("edge-runtime", VERSION)

    @classmethod
    def exporting(cls, service: str, environment: Mapping[str, str]) -> Spans:
        """Configured by the standard environment variables of OpenTelemetry."""
        for name in (OTLPSpanExporter.__module__, "opentelemetry.sdk._shared_internal"):
            logging.getLogger(name).addFilter(Seldom())
        exporter = OTLPSpanExporter()
        return cls(service, BatchSpanProcessor(exporter), environment, exporter.shutdown)

    def request(self, name: str, caller: TraceContext | None, attributes: Attributes) -> TracedRequest:
        """Span around one request, in the client's trace or a new one."""
        return TracedRequest(self, name, caller, attributes)

    def metrics(self, service: str, process: ProcessMetrics | None = None) -> Metrics:
        """A service's metrics, which also record events in the trace of a request."""
        return _TracedMetrics(service, process)

    def close(self, within: float = _CLOSE_WITHIN) -> None:
        """Exports the remaining spans within `within` seconds, and gives up those that were not sent."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(within)
        if closing.is_alive():
            self._give_up()
            closing.join(within)


class Seldom(logging.Filter):
    """Logs one line a minute, so that an unreachable collector does not fill the log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, every: float = 60.0) -> None:
        super().__init__()
        self._clock, self._every, self._next = clock, every, 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._every
        return True


class TracedRequest(Trace):
    """A request with a span, the parent of the spans of its stages and hops."""

    __slots__ = ("_hops", "_inside", "_spans", "span")
    recording = True

    def __init__(self, spans: Spans, name: str, caller: TraceContext | None, attributes: Attributes) -> None:
        super().__init__()
        self._spans = spans
        self._hops: list[_TracedHop] = []
        self.span = spans.tracer.start_span(
            name,
            context=_context(caller),
            kind=SpanKind.SERVER,
            attributes={**attributes, "edge.service": spans.service},
        )
        self._inside = set_span_in_context(self.span, Context())

    def __enter__(self) -> Self:
        current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hop in self._hops:
            hop.finish()
        if kind is asyncio.CancelledError:  # other errors set a status
            _failed(self.span, "cancelled")
        self.span.end()

    def hop(self, url: str, place: str, model: str) -> Trace:
        parts = urlsplit(url)
        span = self.child(
            "POST",
            SpanKind.CLIENT,
            {
                "http.request.method": "POST",
                "server.address": parts.hostname or "",
                "server.port": parts.port or (443 if parts.scheme == "https" else 80),
                "url.full": f"{url.rstrip('/')}/v2/models/{model}/infer",
                "edge.place": place,
                "edge.model": model,
            },
        )
        return _TracedHop(span, self._hops)

    def child(self, name: str, kind: SpanKind, attributes: Attributes, start_time: int | None = None) -> Span:
        """A child span of the request's."""
        return self._spans.tracer.start_span(
            name,
            context=self._inside,
            kind=kind,
            attributes={**attributes, "edge.service": self._spans.service},
            start_time=start_time,
        )

    def status(self, code: int) -> None:
        self.span.set_attribute("http.response.status_code", code)
        if code >= 500:
            _failed(self.span, str(code))

    def grpc_status(self, code: int) -> None:
        """Records the gRPC status; these codes are errors of the server."""
        self.span.set_attribute("rpc.grpc.status_code", code)
        if code in (2, 4, 12, 13, 14, 15):
            _failed(self.span, str(code))

    def answered(self, parameters: Mapping[str, str | bool | float]) -> None:
        self.span.set_attributes({f"edge.{name}": value for name, value in parameters.items()})

    def ended(self, outcome: str) -> None:
        self.span.set_attribute("edge.outcome", outcome)

    def stage(self, route: str, seconds: float) -> None:
        now = time.time_ns()
        begun = now - int(seconds * 1e9)
        span = self.child("stage", SpanKind.INTERNAL, {"edge.route": route}, begun)
        span.end(now)

    def hopped(self, route: str, outcome: str) -> None:
        if self._hops:
            self._hops.pop().finish(route, outcome)


class _TracedHop(Trace):
    """A hop with a span, which ends when the outcome of the hop is known."""

    __slots__ = ("_end", "_hops", "_kind", "_span")

    def __init__(self, span: Span, hops: list[_TracedHop]) -> None:
        context = span.get_span_context()
        state = context.trace_state.to_header()
        super().__init__(
            f"traceparent: 00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}\r\n"
            + (f"tracestate: {state}\r\n" if state else "")
        )
        self._span, self._hops = span, hops
        self._end: int | None = None
        self._kind: type[BaseException] | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end, self._kind = time.time_ns(), kind
        self._hops.append(self)

    def status(self, code: int) -> None:
        self._span.set_attribute("http.response.status_code", code)

    def finish(self, route: str = "", outcome: str = "") -> None:
        """Ends the span at the end time of the hop."""
        if not outcome:
            outcome = "ok" if self._kind is None else _OUTCOMES.get(self._kind, "failed")
        self._span.set_attribute("edge.outcome", outcome)
        if route:
            self._span.set_attribute("edge.route", route)
        if outcome != "ok":
            _failed(self._span, outcome)
        self._span.end(self._end)


class _TracedMetrics(Metrics):
    def request(self, exit_: str, route: str, outcome: str, seconds: float, *, met: bool) -> None:
        super().request(exit_, route, outcome, seconds, met=met)
        current.get().ended(outcome)

    def stage(self, route: str, seconds: float) -> None:
        super().stage(route, seconds)
        current.get().stage(route, seconds)

    def hop(self, route: str, outcome: str, seconds: float) -> None:
        super().hop(route, outcome, seconds)
        current.get().hopped(route, outcome)


def _context(caller: TraceContext | None) -> Context:
    if caller is None:
        return Context()
    remote = SpanContext(
        int(caller.trace_id, 16),
        int(caller.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(caller.flags),
        trace_state=TraceState.from_header([caller.state]) if caller.state else None,
    )
    return set_span_in_context(NonRecordingSpan(remote), Context())


def _failed(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
