"""Pacing on traffic that is made up here; `router-bench pacing` measures it on real outcomes."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import numpy as np
import pytest

from router.keys.limits import Limits
from router.keys.pacing import GRID, Pacer
from router.keys.spending import DAY_S, Spending, Sum, day_of

MARCH = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
USUAL = np.array([0.3, 0.5, 0.7, 0.8])
COSTS = np.array([1e-5, 4e-5, 2e-4, 1e-3])


def month(budget, *, per_day=60, seed=0, drift=1.0, limits=None, history=True):
    """A month of requests, by day and by night; what was spent. `drift`: what answers cost against expectations."""
    rng = np.random.default_rng(seed)
    limits = limits or Limits(month_usd=budget, pace=True)
    pacer, spending = Pacer(Random(seed)), Spending()
    if history:
        spending.stored = {day_of(MARCH) - day: Sum(requests=per_day) for day in range(1, 20)}
    hours = 1 + np.sin(np.arange(24) / 24 * 2 * np.pi)
    for day in range(31):
        number = rng.poisson(per_day)
        at = (
            MARCH
            + day * DAY_S
            + np.sort(rng.choice(24, number, p=hours / hours.sum()) * 3600 + rng.uniform(0, 3600, number))
        )
        for now in at:
            beta = pacer.beta(spending, limits, now)
            beta = 0.5 if beta is None else beta
            values = np.clip(USUAL + rng.normal(0, 0.15, 4), 0, 1)
            expected = COSTS * rng.uniform(0.5, 1.5)
            scores = beta * values + (1 - beta) * (1 - expected / expected.max())
            pacer.saw(values, expected, expected.max(), now)
            chosen = int(np.argmax(scores))
            paid = expected[chosen] * drift * rng.exponential()
            pacer.paid(expected[chosen], paid)
            spending.settle(0, Sum(1, 0, 0, paid), now)
    return spending.sum("month", MARCH + 15 * DAY_S).cost_usd


@pytest.mark.parametrize("budget", [0.2, 0.8])
def test_a_month_lands_on_its_budget(budget):
    assert month(budget) == pytest.approx(budget, rel=0.03)


def test_answers_that_cost_three_times_what_was_expected_do_not_overrun_it():
    assert month(0.6, drift=3.0) == pytest.approx(0.6, rel=0.03)


def test_a_budget_out_of_reach_is_met_by_the_nearest_beta():
    cheapest = month(1.0, limits=Limits(month_usd=1.0, beta_max=0.0))
    assert month(1e-9) == pytest.approx(cheapest, rel=0.1)
    assert cheapest < 0.1 < month(100.0) < 10.0


def test_beta_stays_within_the_keys_bounds():
    pacer, spending = Pacer(Random(0)), Spending()
    limits = Limits(month_usd=100.0, pace=True, beta_min=0.31, beta_max=0.62)
    for second in range(50):
        pacer.saw([0.2, 0.9], [1e-5, 1e-3], 1e-3, MARCH + second)
    assert pacer.beta(spending, limits, MARCH + 60) == 0.62
    spending.settle(0, Sum(50, 0, 0, 100.0), MARCH + 60)
    assert pacer.beta(spending, limits, MARCH + 61) == 0.31


def test_nothing_is_said_before_anything_is_known():
    assert Pacer().beta(Spending(), Limits(month_usd=1.0, pace=True), MARCH) is None


def test_beta_is_drawn_so_that_the_mean_costs_what_it_may():
    pacer = Pacer(Random(0))
    for second in range(200):
        pacer.saw([0.2, 0.9], [1e-5, 1e-3], 1e-3, MARCH + second)
    spending = Spending({day_of(MARCH) - day: Sum(requests=1000) for day in range(1, 20)})
    limits = Limits(month_usd=31 * 1000 * 4e-4, pace=True)
    drawn = [pacer.beta(spending, limits, MARCH + 200) for _ in range(2000)]
    dear = np.mean([beta * 0.9 > beta * 0.2 + (1 - beta) * 0.99 for beta in drawn])
    assert dear * 1e-3 + (1 - dear) * 1e-5 == pytest.approx(4e-4, rel=0.1)
    assert set(drawn) <= set(GRID)


def test_other_requests_of_the_key_are_provided_for():
    pacer = Pacer(Random(0))
    for second in range(400):
        pacer.saw([0.2, 0.9], [1e-5, 1e-3], 1e-3, MARCH + second)
        pacer.saw_other(9e-4, MARCH + second)
    spending = Spending({day_of(MARCH) - day: Sum(requests=1000) for day in range(1, 20)})
    # named models take 0.45 of 0.455 a thousand requests: what is left buys the cheapest only
    assert pacer.beta(spending, Limits(month_usd=31 * 0.455, pace=True), MARCH + 400) < 0.6


def test_the_requests_to_come_follow_the_weekdays():
    days = {}
    for back in range(1, 29):
        day = day_of(MARCH) - back
        days[day] = Sum(requests=0 if datetime.fromtimestamp(day * DAY_S, UTC).weekday() >= 5 else 100)
    # March 2026 begins on a Sunday, and has 22 workdays
    assert Pacer().requests_to_come(days, MARCH) == pytest.approx(2200)
    assert Pacer().requests_to_come({}, MARCH) == 0
