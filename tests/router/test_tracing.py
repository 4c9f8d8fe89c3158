"""Spans of requests, and when there are any."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from router import tracing
from router.tracing import Tracing, open_tracing, wanted
from tests.router.fakes import Fails
from tests.router.running import ASK

ADDRESS = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def spans(monkeypatch):
    """The spans of gateways that start from now on, by name."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("router.app.open_tracing", lambda environ: Tracing(provider))
    return lambda: {span.name: span for span in exporter.get_finished_spans()}


async def test_a_request_is_a_span_with_its_decision_and_call_below(start, spans):
    async with start(beta=0.25) as running:
        reply = await running.chat(headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    found = spans()
    whole, decide, call = (found[name] for name in ("POST /v1/chat/completions", "decide", "chat weak"))
    assert f"{whole.context.trace_id:032x}" == TRACE
    assert f"{whole.parent.span_id:016x}" == SPAN
    assert decide.parent.span_id == call.parent.span_id == whole.context.span_id
    assert (whole.kind, call.kind) == (SpanKind.SERVER, SpanKind.CLIENT)
    assert whole.start_time == decide.start_time <= decide.end_time == call.start_time
    assert call.start_time < call.end_time <= whole.end_time
    attributes = dict(call.attributes)
    assert attributes.pop("router.cost_usd") == pytest.approx(15e-6)
    assert attributes.pop("router.saved_usd") > 0
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "auto",
        "gen_ai.response.model": "weak",
        "gen_ai.response.id": "chatcmpl-weak-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "router.decision_id": reply.headers["x-router-decision"],
        "router.model": "weak",
        "router.reason": "best_score",
        "router.beta": 0.25,
        "router.value": 0.5,
        "router.usage_estimated": False,
        "router.stream": False,
    }
    assert whole.attributes["http.response.status_code"] == 200
    assert not [s for s in found.values() if ASK[0]["content"] in str(s.attributes)]


async def test_failures_are_marked(start, spans):
    async with start({"weak": Fails(503)}) as running:
        await running.chat("weak")
        await running.chat("nobody")
        await running.http.get("/healthz")
    found = spans()
    assert found["chat weak"].status.status_code is StatusCode.ERROR
    assert found["chat weak"].attributes["error.type"] == "UpstreamRefused"
    assert "/healthz" in found


@pytest.mark.parametrize(
    ("environ", "exporter"),
    [
        ({}, None),
        (ADDRESS, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({**ADDRESS, "OTEL_TRACES_EXPORTER": "none"}, None),
        ({**ADDRESS, "OTEL_SDK_DISABLED": "true"}, None),
        ({"OTEL_SERVICE_NAME": "gateway"}, None),
    ],
)
def test_the_standard_variables_decide(environ, exporter):
    assert wanted(environ) == exporter


def test_what_cannot_be_had_is_said_and_hurts_nobody(monkeypatch, caplog):
    assert open_tracing({"OTEL_TRACES_EXPORTER": "zipkin"}) is None
    assert "should be otlp, console or none, not 'zipkin'" in caplog.text

    def missing(exporter):
        raise ModuleNotFoundError("no opentelemetry", name="opentelemetry")

    monkeypatch.setattr(tracing, "_provider", missing)
    assert open_tracing(ADDRESS) is None
    assert "pip install 'v0-router[otel]'" in caplog.text


def test_without_configuration_the_sdk_is_not_imported():
    code = "import sys; from router.tracing import open_tracing as o; print(o({}), 'opentelemetry.sdk' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "None False"
