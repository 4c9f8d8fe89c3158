"""
Traces by OpenTelemetry, where the standard OTEL_* variables ask for them and its packages are there.

A request's spans are made when it has ended, from what is known then: nothing is done on its way. The request's span
has two children, the decision and the call of the model, with the attributes of the GenAI conventions.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.trace import TracerProvider

    from router.ended import Ended, Routing

logger = logging.getLogger(__name__)

ADDRESSES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
EXPORTER = "OTEL_TRACES_EXPORTER"  # otlp, console or none
OPERATIONS = {"chat": "chat", "completions": "text_completion", "embeddings": "embeddings"}
NS_IN_MS, NS_IN_S = 1_000_000, 1_000_000_000


def wanted(environ: Mapping[str, str]) -> str | None:
    """The exporter that the environment asks for, None without one."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    chosen = environ.get(EXPORTER, "").strip().lower()
    if not chosen and any(environ.get(name) for name in ADDRESSES):
        chosen = "otlp"
    return None if chosen in ("", "none") else chosen


def open_tracing(environ: Mapping[str, str]) -> Tracing | None:
    """The tracing that the environment asks for; None, after saying so, where it cannot be had."""
    chosen = wanted(environ)
    if chosen is None:
        return None
    try:
        return Tracing(_provider(chosen))
    except ModuleNotFoundError as error:
        logger.warning("no traces: %s is missing; pip install 'v0-router[otel]'", error.name)
    except ValueError as error:
        logger.warning("no traces: %s", error)
    return None


class Tracing:
    """Makes the spans of ended requests, and hands them to a provider that it shuts down."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("v0-router")
        self._kinds = SpanKind
        self._below: Callable[..., Any] = set_span_in_context
        self._extract: Callable[..., Any] = TraceContextTextMapPropagator().extract

    def record(self, ended: Ended) -> None:
        """The spans of a request, below the caller's own where it sent a traceparent."""
        begin = int(ended.began * NS_IN_S)
        end = begin + int(ended.ms * NS_IN_MS)
        parent = self._extract(dict(ended.trace_headers or {}))
        whole = self._tracer.start_span(
            f"POST {ended.endpoint}" if ended.routing else ended.endpoint,
            parent,
            self._kinds.SERVER,
            _request_attributes(ended),
            start_time=begin,
        )
        if ended.status >= 500:
            _failed(whole, ended)
        if ended.routing is not None:
            self._inside(whole, ended, ended.routing, begin, end)
        whole.end(end)

    def _inside(self, whole: Any, ended: Ended, routing: Routing, begin: int, end: int) -> None:
        below = self._below(whole)
        decided = min(end, begin + int(routing.decide_ms * NS_IN_MS))
        decision = self._tracer.start_span("decide", below, start_time=begin, attributes=_decided(routing))
        decision.end(decided)
        if routing.model is None:
            return
        operation = OPERATIONS[routing.operation]
        call = self._tracer.start_span(
            f"{operation} {routing.model}",
            below,
            self._kinds.CLIENT,
            _present({"gen_ai.operation.name": operation} | _gen_ai(routing)),
            start_time=decided,
        )
        if ended.status >= 400:
            _failed(call, ended)
        call.end(min(end, decided + int(routing.upstream_ms * NS_IN_MS)))

    def shutdown(self) -> None:
        """Send what waits, and end. Blocks for as long as that takes."""
        self._provider.shutdown()


def _provider(exporter: str) -> TracerProvider:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

    exporting: SpanExporter
    if exporter == "console":
        exporting = ConsoleSpanExporter()
    elif exporter == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporting = OTLPSpanExporter()
    else:
        raise ValueError(f"{EXPORTER} should be otlp, console or none, not {exporter!r}")
    resource = Resource.create()
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "v0-router"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporting))
    return provider


def _request_attributes(ended: Ended) -> dict[str, Any]:
    return _present(
        {
            "http.route": ended.endpoint,
            "http.response.status_code": ended.status,
            "router.request_id": ended.request_id,
            "error.type": ended.error,
            "router.overhead_ms": ended.overhead_ms,
        }
    )


def _decided(routing: Routing) -> dict[str, Any]:
    return _present(
        {
            "gen_ai.request.model": routing.asked,
            "router.decision_id": routing.decision_id,
            "router.model": routing.model,
            "router.reason": routing.reason,
            "router.beta": routing.beta,
            "router.value": routing.value,
        }
    )


def _gen_ai(routing: Routing) -> dict[str, Any]:
    provider, _, remote = (routing.target or "").partition("/")
    return _decided(routing) | {
        "gen_ai.provider.name": provider or None,
        "gen_ai.response.model": remote or routing.model,
        "gen_ai.response.id": routing.completion_id,
        "gen_ai.response.finish_reasons": [routing.finish_reason] if routing.finish_reason else None,
        "gen_ai.usage.input_tokens": routing.input_tokens,
        "gen_ai.usage.output_tokens": routing.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": routing.cached_tokens,
        "router.usage_estimated": routing.usage_estimated,
        "router.cost_usd": routing.cost_usd,
        "router.saved_usd": routing.saved_usd,
        "router.stream": routing.stream,
    }


def _failed(span: Any, ended: Ended) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attributes({"error.type": ended.error or str(ended.status)})
    span.set_status(Status(StatusCode.ERROR))


def _present(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}
