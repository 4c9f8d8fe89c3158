"""Paced months on made-up traffic; the command replays real outcomes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.min_success import Traffic
from benchmarks.pacing import BEGIN, DAYS, month_of, pace, reach
from router.keys.spending import DAY_S

USUAL = np.array([0.4, 0.6, 0.8])


@pytest.fixture(scope="module")
def traffic():
    rng = np.random.default_rng(0)
    chance = np.clip(USUAL + rng.normal(0, 0.2, (200, 3)), 0, 1)
    expected = np.array([1e-5, 1e-4, 1e-3])
    costs = expected * rng.exponential(1.0, (200, 3))
    scores = (rng.random((200, 3)) < chance).astype(float)
    return Traffic(["a", "b", "c"], chance, scores, expected, costs, 1e-3)


def test_a_month_has_its_requests_in_order_and_fewer_at_weekends(traffic):
    month = month_of(traffic, 5000, seed=0)
    assert len(month.times) == pytest.approx(5000, rel=0.1)
    assert (np.diff(month.times) >= 0).all()
    days = ((month.times - BEGIN) // DAY_S).astype(int)
    counts = np.bincount(days, minlength=DAYS)
    assert counts[[0, 6, 7]].max() < counts[1:6].min()  # March 2026 begins on a Sunday


@pytest.mark.parametrize(("history", "surge"), [(True, 1.0), (False, 1.0), (True, 2.0)])
def test_a_paced_month_lands_on_its_budget(traffic, history, surge):
    month = month_of(traffic, 1500, seed=1, surge=surge)
    low, high = reach(traffic, month)
    budget = low + 0.4 * (high - low)
    landed = pace(traffic, month, budget, seed=1, history=history)
    assert landed.spent == pytest.approx(budget, rel=0.03)
    assert landed.success == pytest.approx(landed.fixed_success, abs=0.05)
