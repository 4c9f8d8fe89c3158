"""
Pacing: β moves so that a key's month lands on its budget.

For every routed request we know what each candidate was expected to cost and what each is worth, and so what the
request would have cost at any β: the mean of that over recent traffic is the cost curve C(β), which rises with β. What
is left of the budget, divided by the requests that are still expected this month, is what the next request may cost on
average; β is where the curve meets it. That is feedback: whatever was forecast wrongly shows in what is left, and is
made up for.

    c* = (left / N − (1 − q)·u) / q      left in USD; N requests still to come, the share q of them paced,
    β* : ρ·C(β*) = c*                    the others at u USD each; ρ = paid / expected so far

Costs step where one model overtakes another, so β is drawn from the two grid points around β* in the proportion that
meets c*. N comes from the same weekdays of the last four weeks and the hours of the day seen so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from router.keys.spending import DAY_S, Sum, day_of, end_of_month

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from router.keys.limits import Limits
    from router.keys.spending import Spending

GRID = np.linspace(0.0, 1.0, 41)
MEMORY = 500.0  # requests over which the curve and the shares are averaged
WEEKS = 4
HOUR_S = 3600.0
LOOK_S = 60.0
PRIOR_DAY = 24.0  # requests, one an hour, that the day's profile begins with


@dataclass
class Pacer:
    """What is known of one key's traffic. In memory: after a restart the curve is learnt anew within some requests."""

    rng: Random = field(default_factory=Random)
    _curve: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(GRID)))  # sums, decayed
    _seen: float = 0.0  # paced requests, decayed
    _expected_usd: float = 0.0  # of those that have ended, decayed
    _paid_usd: float = 0.0
    _others: float = 0.0  # requests that β has no say in, decayed
    _others_usd: float = 0.0
    _hours: NDArray[np.float64] = field(default_factory=lambda: np.full(24, PRIOR_DAY / 24))
    _first_at: float | None = None
    _requests: int = 0
    _looked: tuple[float, float, int] | None = None  # when, how many were to come, how many had come

    def saw(self, values: Sequence[float], costs: Sequence[float], cost_scale: float, now: float) -> None:
        """Learn from a decision by β: the candidates' values, expected costs (USD) and the unit of c̃."""
        scaled = np.minimum(1.0, np.asarray(costs) / cost_scale) if cost_scale > 0 else np.zeros(len(costs))
        scores = GRID[:, None] * np.asarray(values) + (1 - GRID[:, None]) * (1 - scaled)  # (grid, candidates)
        ranked = np.lexsort((np.broadcast_to(costs, scores.shape), -scores))  # ties go to the cheaper
        keep = 1 - 1 / MEMORY
        self._curve = keep * self._curve + np.asarray(costs)[ranked[:, 0]]
        self._seen = keep * self._seen + 1
        self._others, self._others_usd = keep * self._others, keep * self._others_usd
        self._counted(now)

    def paid(self, expected_usd: float, paid_usd: float) -> None:
        """
        What the best candidate of a paced request was expected to cost, and what the request did cost: with other
        lengths than usual, a model drawn to explore, a fallback.
        """
        keep = 1 - 1 / MEMORY
        self._expected_usd = keep * self._expected_usd + expected_usd
        self._paid_usd = keep * self._paid_usd + paid_usd

    def saw_other(self, paid_usd: float, now: float) -> None:
        """A request that β had no say in: its caller named the model, or the cache answered."""
        keep = 1 - 1 / MEMORY
        self._curve, self._seen = keep * self._curve, keep * self._seen
        self._others, self._others_usd = keep * self._others + 1, keep * self._others_usd + paid_usd
        self._counted(now)

    def beta(self, spending: Spending, limits: Limits, now: float) -> float | None:
        """β for the next request, within the key's bounds; None before anything is known."""
        assert limits.month_usd is not None  # `Limits` sees to it
        if self._seen < 1:
            return None
        left = limits.month_usd - spending.sum("month", now).cost_usd - spending.reserved_usd
        share = self._seen / (self._seen + self._others)
        coming = max(1.0, self._coming(spending, now))
        other = self._others_usd / self._others if self._others else 0.0
        wanted = (left / coming - (1 - share) * other) / share
        return self._at(wanted, limits)

    def _coming(self, spending: Spending, now: float) -> float:
        """`requests_to_come`, looked at once a minute; what has come since is taken off."""
        if self._looked is None or not 0 <= now - self._looked[0] < LOOK_S:
            self._looked = (now, self.requests_to_come(spending.by_day(), now), self._requests)
        _, coming, before = self._looked
        return coming - (self._requests - before)

    def requests_to_come(self, days: Mapping[int, Sum], now: float) -> float:
        """Requests that are expected until the month ends; `days` are the sums of the past, today's included."""
        today, end = day_of(now), day_of(end_of_month(now))
        began = min(days, default=today)
        # the day on which the key was first used is no whole day, unless there is no other
        past = range(max(began + 1, today - 7 * WEEKS), today)
        counts = {day: days[day].requests if day in days else 0 for day in past}
        if not counts:
            first = self._first_at if began == today and self._first_at is not None else began * float(DAY_S)
            elapsed = max(HOUR_S, now - first)
            so_far = sum(each.requests for each in days.values())
            return so_far / elapsed * (end_of_month(now) - now)
        usual = sum(counts.values()) / len(counts)

        def of(day: int) -> float:
            same = [counts[each] for each in counts if (day - each) % 7 == 0]
            return sum(same) / len(same) if same else usual

        return of(today) * self._rest_of_day(now) + sum(of(day) for day in range(today + 1, end))

    def _rest_of_day(self, now: float) -> float:
        """The share of a day's requests that comes after this time of the day."""
        hour = (now % DAY_S) / HOUR_S
        whole = int(hour)
        rest = self._hours[whole + 1 :].sum() + self._hours[whole] * (whole + 1 - hour)
        return float(rest / self._hours.sum())

    def _at(self, wanted: float, limits: Limits) -> float:
        """The β at which a request costs so much on average."""
        low, high = limits.beta_min, limits.beta_max
        grid = np.unique(np.clip(GRID, low, high))
        ratio = self._paid_usd / self._expected_usd if self._expected_usd > 0 else 1.0
        curve = ratio * np.interp(grid, GRID, self._curve / self._seen)
        curve = np.maximum.accumulate(curve)  # it rises but for rounding
        above = int(np.searchsorted(curve, wanted, side="right"))
        if above == 0:
            return float(grid[0])
        if above == len(grid):
            return float(grid[-1])
        step = curve[above] - curve[above - 1]
        chance = (wanted - curve[above - 1]) / step if step > 0 else 0.0
        return float(grid[above] if self.rng.random() < chance else grid[above - 1])

    def _counted(self, now: float) -> None:
        if self._first_at is None:
            self._first_at = now
        self._requests += 1
        self._hours *= 1 - 1 / (20 * MEMORY)
        self._hours[datetime.fromtimestamp(now, UTC).hour] += 1
