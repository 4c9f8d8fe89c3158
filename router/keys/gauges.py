"""What /metrics shows of keys: those that were used since the start, by name. Only admin keys read it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from router.keys.spending import SPANS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from router.keys.book import Book


class KeyGauges(Collector):
    """What keys have spent and have left, and how many of their requests are under way, when it is asked."""

    def __init__(self, namespace: str, book: Book) -> None:
        self._namespace = namespace
        self._book = book

    def describe(self) -> Iterator[Metric]:
        """Nothing: the names are known when they are shown."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        now = time.time()
        spent = self._gauge("key_spent_usd", "What a key has spent.", "span")
        left = self._gauge("key_budget_left_usd", "What a key's budget has left.", "span")
        under_way = self._gauge("key_under_way", "A key's requests under way.")
        for account in self._book.accounts():
            name = account.key.name
            under_way.add_metric((name,), account.under_way)
            for span in SPANS:
                spent.add_metric((name, span), account.spending.sum(span, now).cost_usd)
            for budget in account.spending.budgets(account.limits, now):
                left.add_metric((name, budget.span), max(0.0, budget.left_usd))
        yield from (spent, left, under_way)

    def _gauge(self, name: str, told: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"{self._namespace}_{name}", told, labels=("key", *labels))
