"""Spans of requests, by OpenTelemetry, to a collector (OTLP over HTTP). Loaded only where SLIPWAY_TRACES is set.

They are made of what the access log remembers, after the answer has gone; batches leave in a thread of the SDK's, whose
queue drops what a slow or dead collector does not take. Sampling, headers and the like are the SDK's variables, OTEL_*.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import cache

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

from serving.access import Record
from serving.config import Settings
from serving.correlation import Parent, Trail
from serving.errors import Refused
from serving.logs import event
from serving.protocols import Routes

QUIET = 60
"""Seconds between two lines about spans that were lost."""
BILLION = 10**9


class Traces:
    """Of one worker."""

    def __init__(self, settings: Settings) -> None:
        resource = Resource.create({"service.name": settings.model_name})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{settings.traces.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("slipway")
        self._scheme = "https" if settings.tls_certificate else "http"
        self._routes = Routes(settings.model_name)
        self._route = cache(self._find)
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(_Lines(logging.WARNING))
        logger.propagate = False

    def add(self, records: list[Record]) -> None:
        """Make a span of each record, which learns its ids, and below it one for its queue and its inference."""
        since = time.time() - time.perf_counter()
        for record in records:
            trail = record.trail
            began = int(record.time.timestamp() * BILLION)
            span = self._start(record, trail.parent if trail else None, began)
            context = span.get_span_context()
            record.trace, record.span = format_trace_id(context.trace_id), format_span_id(context.span_id)
            if span.is_recording() and trail and trail.ended:
                self._add_stages(span, trail, since)
            span.end(began + int(record.duration))

    def close(self, seconds: float) -> None:
        """Hand over what is left, unless that takes longer."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(seconds)

    def _start(self, record: Record, parent: Parent | None, began: int) -> Span:
        route = "" if record.grpc else self._route(record.method, record.path)
        name = record.path[1:] if record.grpc else f"{record.method} {route}".strip()
        context = _context(parent) if parent else Context()
        span = self._tracer.start_span(name, context, SpanKind.SERVER, start_time=began)
        if not span.is_recording():  # most are not, where a sample is taken
            return span
        attributes: dict[str, str | int]
        if record.grpc:
            attributes = {"rpc.system.name": "grpc", "rpc.method": name, "rpc.response.status_code": record.grpc}
        else:
            attributes = {"http.request.method": record.method, "http.response.status_code": record.code}
            attributes |= {"url.path": record.path, "url.scheme": self._scheme}
            attributes |= {"http.route": route} if route else {}
        attributes["http.request.body.size"] = record.size
        if record.release:
            attributes |= {"slipway.release": record.release, "slipway.model.sha256": record.model}
        if record.level == "error":
            attributes["error.type"] = record.grpc or str(record.code)
            span.set_status(StatusCode.ERROR)
        span.set_attributes(attributes)
        return span

    def _add_stages(self, span: Span, trail: Trail, since: float) -> None:
        context = set_span_in_context(span, Context())
        queued, began, ended = (int((since + moment) * BILLION) for moment in (trail.queued, trail.began, trail.ended))
        self._tracer.start_span("queue", context, start_time=queued).end(began)
        self._tracer.start_span("inference", context, start_time=began).end(ended)

    def _find(self, method: str, path: str) -> str:
        try:
            return self._routes.find(method, path)[0].path
        except Refused:
            return ""


def _context(parent: Parent) -> Context:
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    remote = SpanContext(int(parent.trace, 16), int(parent.span, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(remote), Context())


class _Lines(logging.Handler):
    """Says what the SDK has to say as the server says everything, and not all the time."""

    _last = -QUIET * 1.0

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() - self._last >= QUIET:
            self._last = time.monotonic()
            event("traces-lost", "warning", **{"error.message": record.getMessage()[:300]})
