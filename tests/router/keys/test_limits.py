from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.keys.limits import NONE, BadLimits, Limits, check_name, read_limits

money = st.none() | st.floats(0, 1e6)
count = st.none() | st.integers(1, 10**9)
names = st.lists(st.text("abc-*?", min_size=1, max_size=8), min_size=1, max_size=3).map(tuple)
betas = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


@given(
    usd=st.tuples(money, money, money),
    counts=st.tuples(count, count, count),
    models=st.none() | names,
    deny=names,
    betas=betas,
    target=st.none() | st.floats(0.01, 1),
    dearest=st.none() | st.floats(1e-6, 10),
    pace=st.booleans(),
)
def test_what_is_stored_is_read_back(usd, counts, models, deny, betas, target, dearest, pace):
    pace = pace and usd[1] is not None and target is None
    limits = Limits(*usd, *counts, models, deny, *betas, target, dearest, pace=pace)
    assert read_limits(limits.to_json()) == limits


def test_no_limits_are_stored_as_nothing():
    assert NONE.to_json() == {}
    assert read_limits({}) == NONE


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"monthly": 3}, "monthly", "there is no such limit; there are day_usd"),
        ({"month_usd": -1}, "month_usd", "greater than or equal to 0"),
        ({"month_usd": "5"}, "month_usd", "valid number"),
        ({"requests_per_minute": 0}, "requests_per_minute", "greater than or equal to 1"),
        ({"requests_per_minute": 1.5}, "requests_per_minute", "valid integer"),
        ({"concurrent": True}, "concurrent", "valid integer"),
        ({"models": []}, "models", "at least 1 item"),
        ({"models": [""]}, "models.0", "at least 1 character"),
        ({"beta_min": 1.1}, "beta_min", "less than or equal to 1"),
        ({"beta_min": 0.9, "beta_max": 0.1}, None, "beta_min should not be above beta_max"),
        ({"pace": True}, None, "pace needs month_usd"),
        ({"min_success": 0}, "min_success", "greater than 0"),
        ({"max_cost_usd": -1}, "max_cost_usd", "greater than 0"),
        ({"pace": True, "month_usd": 1, "min_success": 0.5}, None, "a key has one of them"),
    ],
)
def test_what_cannot_be_is_refused_by_name(given, field, words):
    with pytest.raises(BadLimits, match=words) as caught:
        read_limits(given)
    assert caught.value.field == field


def test_models_are_allowed_by_pattern_and_denied_before_that():
    limits = Limits(models=("gpt-*", "sage"), deny=("gpt-4*",))
    assert limits.allowed(["gpt-4o", "gpt-5-mini", "sage", "tally"]) == ("gpt-5-mini", "sage")
    assert Limits(deny=("sage",)).allowed(["sage", "tally"]) == ("tally",)
    assert NONE.allowed(["sage"]) is None


def test_beta_stays_within_its_bounds():
    limits = Limits(beta_min=0.2, beta_max=0.6)
    assert [limits.bounded(beta) for beta in (0, 0.4, 1)] == [0.2, 0.4, 0.6]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "é", "x" * 129, "a\n"])
def test_names_that_stand_in_no_path_are_refused(name):
    with pytest.raises(BadLimits):
        check_name(name)
