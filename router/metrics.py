"""
What /metrics shows, in a registry of this gateway's own.

Requests are counted when they end, in some microseconds. Labels are route paths, models of the fleet, statuses
and classes of errors: never anything that a caller made up.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from router.keys.gauges import KeyGauges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from router.ended import Ended, Routing
    from router.keys.book import Book
    from router.reload import Reloads
    from router.store.writer import Writer
    from router.valuation import Loading

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NAMESPACE = "v0_router"
OURS_S = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0)
THEIRS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
FAILED = "failed: "


class Metrics:
    """Counts of what has ended, and a look at what is there when it is asked for."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._requests = self._counter("requests", "Requests that have ended.", "endpoint", "model", "status")
        self._errors = self._counter("errors", "Requests that ended in an error, by its class.", "family")
        self._failures = self._counter(
            "upstream_failures", "Models that were asked and gave no answer.", "model", "cause"
        )
        self._tokens = self._counter("tokens", "Tokens that upstreams counted.", "model", "direction")
        self._cost = self._counter("cost_usd", "What replies cost.", "model")
        self._saved = self._counter(
            "saved_usd",
            "What routed replies cost less than their dearest candidate was expected to.",
            "model",
        )
        self._overspent = self._counter("overspent_usd", "The same where they cost more.", "model")
        self._decide = self._histogram("decide_seconds", "Until it was clear who is asked.", OURS_S)
        self._upstream = self._histogram("upstream_seconds", "Waiting for upstreams.", THEIRS_S)
        self._overhead = self._histogram("overhead_seconds", "The rest of a request's time.", OURS_S)
        # finding a child by its labels costs more than counting in it
        self._child = lru_cache(4096)(lambda family, *labels: family.labels(*labels))

    def watch(self, writer: Writer, loading: Loading, reloads: Reloads) -> None:
        """Show the writer's queue, the contexts and how the settings are as well, from now on."""
        self._registry.register(_Now(writer, loading, reloads))

    def watch_keys(self, book: Book) -> None:
        """Show what keys spend as well, from now on."""
        self._registry.register(KeyGauges(NAMESPACE, book))

    def record(self, ended: Ended) -> None:
        """Count a request."""
        routing = ended.routing
        model = (routing.model if routing else None) or ""
        self._child(self._requests, ended.endpoint, model, str(ended.status)).inc()
        if ended.error is not None:
            self._child(self._errors, ended.error).inc()
        if routing is not None:
            self._child(self._decide, ended.endpoint).observe(routing.decide_ms / 1e3)
            self._child(self._overhead, ended.endpoint).observe(ended.overhead_ms / 1e3)
            if model:
                self._child(self._upstream, ended.endpoint).observe(routing.upstream_ms / 1e3)
                self._spent(model, routing)

    def _spent(self, model: str, routing: Routing) -> None:
        for failed, how in routing.failed:
            self._child(self._failures, failed, _cause(how)).inc()
        if routing.input_tokens is not None:
            self._child(self._tokens, model, "input").inc(routing.input_tokens)
        if routing.output_tokens is not None:
            self._child(self._tokens, model, "output").inc(routing.output_tokens)
        if routing.cost_usd is not None:
            self._child(self._cost, model).inc(routing.cost_usd)
        if routing.saved_usd is not None:
            family = self._saved if routing.saved_usd >= 0 else self._overspent
            self._child(family, model).inc(abs(routing.saved_usd))

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format. Takes milliseconds: call it in a thread."""
        return generate_latest(self._registry)

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(name, told, labels, namespace=NAMESPACE, registry=self._registry)

    def _histogram(self, name: str, told: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(
            name, told, ("endpoint",), namespace=NAMESPACE, registry=self._registry, buckets=buckets
        )


class _Now(Collector):
    """How the writer, the contexts and the settings are at this moment."""

    def __init__(self, writer: Writer, loading: Loading, reloads: Reloads) -> None:
        self._writer = writer
        self._loading = loading
        self._reloads = reloads

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        health = self._writer.health()
        yield _gauge("writer_queue", "Decisions and feedback that wait to be written.", health.queued)
        yield _gauge("writer_running", "1 while the store is written.", float(health.running))
        dropped = CounterMetricFamily(f"{NAMESPACE}_writer_dropped", "Decisions that were never written.")
        dropped.add_metric((), health.dropped)
        yield dropped
        reloads, now = self._reloads, time.time()
        yield _gauge(
            "settings_age_seconds", "Since the settings in force were read.", now - reloads.loaded_at
        )
        yield _gauge(
            "settings_problems", "What is wrong with router.yaml as it is now.", len(reloads.problems)
        )
        taken = CounterMetricFamily(
            f"{NAMESPACE}_settings_reloads", "Edits of router.yaml or its prices.", labels=("result",)
        )
        taken.add_metric(("taken",), reloads.taken)
        taken.add_metric(("refused",), reloads.refused)
        yield taken
        valuation = self._loading.now()
        yield _gauge("value_ready", "1 once V0 is loaded and `auto` is served.", float(valuation is not None))
        if valuation is None:
            return
        contexts = valuation.contexts
        if contexts.refreshed_at is not None:
            age = now - contexts.refreshed_at
            yield _gauge("contexts_refresh_age_seconds", "Since the store was last read for outcomes.", age)
        yield _gauge(
            "contexts_stale_rows", "Outcomes that this version of V0 cannot read.", contexts.stale_rows
        )
        rows = _by_model("context_rows", "Outcomes in a model's context.")
        ages = _by_model("context_age_seconds", "Since a model's newest outcome was made.")
        for name, capability in contexts.current.capabilities.items():
            rows.add_metric((name,), capability.rows)
            newest = capability.history.newest_at
            if newest is not None:
                ages.add_metric((name,), now - newest)
        yield rows
        yield ages


def _gauge(name: str, told: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{NAMESPACE}_{name}", told, value)


def _by_model(name: str, told: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{NAMESPACE}_{name}", told, labels=("model",))


def _cause(how: str) -> str:
    """ "failed: 503" as 5xx; other causes as they are called."""
    cause = how.removeprefix(FAILED)
    return f"{cause[0]}xx" if cause.isdigit() else cause
