from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.keys.limits import Limits
from router.keys.spending import DAY_S, Spending, Sum, day_of, end_of_month, first_of_month, resets_at


def at(*moment):
    return datetime(*moment, tzinfo=UTC).timestamp()


def test_a_day_a_month_and_all_time_are_summed_apart_and_processes_together():
    now = at(2026, 3, 15, 12)
    days = {day_of(at(2026, 2, 28, 23)): 1.0, day_of(at(2026, 3, 1)): 2.0, day_of(now): 4.0}
    spending = Spending({day: Sum(1, 10, 5, usd) for day, usd in days.items()})
    spending.settle(0, Sum(1, 10, 5, 8.0), now)
    assert [spending.sum(span, now).cost_usd for span in ("day", "month", "total")] == [12, 14, 15]
    assert spending.sum("total", now) == Sum(4, 40, 20, 15.0)
    assert spending.by_day()[day_of(now)].cost_usd == 12


@given(st.floats(0, 4e9))
def test_a_month_begins_on_its_first_and_ends_where_the_next_begins(now):
    first, end = first_of_month(now), end_of_month(now)
    assert datetime.fromtimestamp(first * DAY_S, UTC).day == 1
    assert first * DAY_S <= now < end
    assert first_of_month(end) == day_of(end)
    assert first_of_month(end - 1) == first


def test_budgets_begin_anew_at_midnight_and_on_the_first():
    now = at(2026, 12, 31, 23, 59)
    assert resets_at("day", now) == resets_at("month", now) == at(2027, 1, 1)
    assert resets_at("total", now) is None


def test_what_is_reserved_is_not_left_until_it_is_settled():
    spending, limits, now = Spending(), Limits(day_usd=1.0, total_usd=5.0), at(2026, 3, 1)
    spending.reserve(0.75)
    assert [each.left_usd for each in spending.budgets(limits, now)] == [0.25, 4.25]
    spending.settle(0.75, Sum(1, 0, 0, 0.5), now)
    assert [each.left_usd for each in spending.budgets(limits, now)] == [0.5, 4.5]
    tomorrow = now + DAY_S
    assert [each.left_usd for each in spending.budgets(limits, tomorrow)] == [1.0, 4.5]


@given(st.lists(st.floats(0, 10), max_size=30))
def test_reservations_leave_nothing_behind(amounts):
    spending = Spending()
    for usd in amounts:
        spending.reserve(usd)
    for usd in amounts:
        spending.settle(usd, Sum(1, 0, 0, usd), 0)
    assert spending.reserved_usd == pytest.approx(0, abs=1e-9)
    assert spending.sum("total", 0).cost_usd == pytest.approx(sum(amounts))
