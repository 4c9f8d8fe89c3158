"""Decisions are pure: values and costs in, a choice out."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model import Model, Prices
from router.decide import after_failures, decide, expected_cost, pin

VALUES = {"strong": 0.9, "middle": 0.6, "weak": 0.2}
COSTS = {"strong": 0.010, "middle": 0.004, "weak": 0.001}


def choose(beta=0.5, exploration=0.0, rng=None, values=VALUES, costs=COSTS, excluded=None, **more):
    return decide(
        values,
        costs,
        excluded or {},
        beta,
        exploration,
        rng or Random(0),
        cost_scale=more.pop("cost_scale", 0.010),
        **more,
    )


def test_beta_one_buys_the_best_and_beta_zero_the_cheapest():
    assert choose(beta=1).chosen == "strong"
    assert choose(beta=0).chosen == "weak"


def test_the_score_weighs_value_against_normalised_cost():
    [middle] = [c for c in choose(beta=0.25).candidates if c.model == "middle"]
    assert middle.score == pytest.approx(0.25 * 0.6 + 0.75 * (1 - 0.4))


def test_costs_beyond_the_scale_count_as_the_scale():
    decision = choose(beta=0, costs=COSTS | {"strong": 5.0})
    assert [c.score for c in decision.candidates if c.model == "strong"] == [0]


def test_a_fleet_that_costs_nothing_is_ranked_by_value():
    decision = choose(beta=0.1, costs=dict.fromkeys(VALUES, 0.0), cost_scale=0.0)
    assert (decision.chosen, *decision.fallbacks) == ("strong", "middle", "weak")


def test_weighted_values_are_the_scores():
    decision = choose(beta=0, combine="weighted")
    assert decision.chosen == "strong"
    assert {c.model: c.score for c in decision.candidates} == VALUES


def test_equal_scores_go_to_the_cheaper_model():
    decision = choose(beta=1, values=dict.fromkeys(VALUES, 0.5))
    assert (decision.chosen, *decision.fallbacks) == ("weak", "middle", "strong")


def test_a_value_that_is_no_number_ranks_last():
    decision = choose(beta=1, values=VALUES | {"strong": float("nan")})
    assert (decision.chosen, *decision.fallbacks) == ("middle", "weak", "strong")


def test_excluded_models_come_last_with_their_reason_and_never_as_fallback():
    decision = choose(beta=1, excluded={"blind": "lacks vision"})
    assert decision.candidates[-1].model == "blind"
    assert decision.candidates[-1].excluded == "lacks vision"
    assert "blind" not in decision.fallbacks


def test_without_exploration_the_best_has_propensity_one():
    decision = choose()
    assert (decision.reason, decision.propensity) == ("best_score", 1.0)


@pytest.mark.parametrize("exploration", [0.3, 1.0])
def test_propensities_are_the_frequencies(exploration):
    rng = Random(7)
    decisions = [choose(beta=1, exploration=exploration, rng=rng) for _ in range(6000)]
    shares = {model: n / 6000 for model, n in Counter(d.chosen for d in decisions).items()}
    for decision in decisions[:50]:
        assert shares[decision.chosen] == pytest.approx(decision.propensity, abs=0.03)
    best = next(d for d in decisions if d.chosen == "strong")
    assert best.propensity == pytest.approx(1 - exploration + exploration / 3)


def test_an_explored_model_is_backed_by_the_ranking():
    rng = Random(1)
    explored = next(d for d in (choose(1, 1.0, rng) for _ in range(99)) if d.chosen == "weak")
    assert explored.fallbacks == ("strong", "middle")
    assert explored.reason == "explored"


def test_a_fallback_is_recorded_as_who_served_and_what_failed():
    decision = after_failures(choose(beta=1), {"strong": "failed: 503"}, "middle", 0.0)
    assert (decision.chosen, decision.reason, decision.propensity) == ("middle", "fallback", 1.0)
    assert decision.fallbacks == ("weak",)
    assert {c.model: c.excluded for c in decision.candidates} == {
        "strong": "failed: 503",
        "middle": None,
        "weak": None,
    }


def test_the_propensity_of_a_fallback_is_its_frequency_while_the_same_model_fails():
    rng, exploration = Random(3), 0.6
    served = Counter()
    for _ in range(6000):
        decision = choose(1, exploration, rng)
        order = [m for m in (decision.chosen, *decision.fallbacks) if m != "strong"]
        served[order[0]] += 1
        if decision.chosen == "strong":
            fallback = after_failures(decision, {"strong": "failed: 503"}, order[0], exploration)
    assert fallback.chosen == "middle"
    assert fallback.propensity == pytest.approx(served["middle"] / 6000, abs=0.02)


def test_when_nobody_answers_the_last_who_failed_is_recorded():
    failed = dict.fromkeys(VALUES, "failed: timeout")
    decision = after_failures(choose(beta=1), failed, "weak", 0.0)
    assert decision.chosen == "weak"
    assert all(c.excluded == "failed: timeout" for c in decision.candidates)


def test_a_named_model_is_pinned():
    decision = pin("middle", 0.004, 0.5)
    assert (decision.chosen, decision.fallbacks, decision.reason, decision.propensity) == (
        "middle",
        (),
        "pinned",
        1.0,
    )


def test_expected_cost_is_in_dollars_with_prices_per_million_tokens():
    model = Model("m", "openai/m", Prices(input=2.0, output=8.0))
    assert expected_cost(model, input_tokens=1000, mean_output_tokens=500) == pytest.approx(0.002 + 0.004)


@given(
    values=st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1), min_size=1),
    beta=st.floats(0, 1),
    exploration=st.floats(0, 1),
    seed=st.integers(0, 9),
)
def test_every_model_is_ranked_once_and_the_choice_is_one_of_them(values, beta, exploration, seed):
    costs = {name: i / 100 for i, name in enumerate(values)}
    decision = decide(values, costs, {}, beta, exploration, Random(seed), cost_scale=0.05)
    assert sorted((decision.chosen, *decision.fallbacks)) == sorted(values)
    assert sorted(c.model for c in decision.candidates) == sorted(values)
    scores = [c.score for c in decision.candidates]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= decision.propensity <= 1
