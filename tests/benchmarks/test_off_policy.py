from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.off_policy import (
    SCORE_VARIANCE,
    Log,
    NoSupport,
    always,
    estimate,
    evaluate,
    greedy,
    unexplored,
)
from tests.benchmarks.traffic import world

TRUTH = np.array([0.8, 0.5, 0.2])
COSTS = np.array([0.010, 0.002, 0.001])
LOGGING = np.array([0.2, 0.6, 0.2])
ESTIMATORS = ("inverse_propensity", "self_normalised", "doubly_robust")


def logged(rows=4000, seed=0, logging=LOGGING, bias=0.0):
    """Traffic in which model m succeeds with TRUTH[m], and predictions that are off by `bias`."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(3, size=rows, p=logging)
    return Log(
        models=("large", "middle", "small"),
        chosen=chosen,
        first=np.full(rows, 1),
        propensities=np.tile(logging, (rows, 1)),
        candidates=np.ones((rows, 3), dtype=bool),
        drawn=np.eye(3, dtype=bool)[chosen],
        values=np.tile(np.clip(TRUTH + bias, 0, 1), (rows, 1)),
        expected_costs=np.tile(COSTS, (rows, 1)),
        cost_scales=np.full(rows, np.nan),
        scores=(rng.random(rows) < TRUTH[chosen]).astype(float),
        costs=COSTS[chosen],
    )


def success(log, target):
    return estimate(log, target, log.scores, log.values, SCORE_VARIANCE)


def width(interval):
    return interval.high - interval.low


@pytest.mark.parametrize("bias", [0.0, 0.15])
def test_every_estimator_recovers_what_a_policy_would_have_earned(bias):
    log = logged(bias=bias)
    found = success(log, always(log, "large"))
    for name in ESTIMATORS:
        interval = getattr(found, name)
        assert interval.mean == pytest.approx(0.8, abs=0.05)
        assert interval.low < 0.8 < interval.high
    assert found.effective_rows == pytest.approx(0.2 * 4000)
    assert found.drawn_rows == (log.chosen == 0).sum()
    assert (found.rows, found.unsupported) == (4000, 0)


def test_good_predictions_narrow_the_interval():
    log = logged()
    found = success(log, always(log, "large"))
    assert width(found.doubly_robust) < 0.8 * width(found.inverse_propensity)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    return world(tmp_path_factory.mktemp("simulated") / "world")


def coverage(simulated, repetitions, propensities_of=lambda log: log.propensities):
    """Share of intervals, by estimator, that hold the truth on the same requests; and their mean widths."""
    exploration, inside, widths = 0.4, {name: [] for name in ESTIMATORS}, {name: [] for name in ESTIMATORS}
    for seed in range(repetitions):
        rows = np.random.default_rng(seed).choice(len(simulated.scores), 400)
        decided = simulated.decisions(rows, 0.8, exploration, seed)
        log = simulated.log(rows, decided, exploration)
        log = replace(log, propensities=propensities_of(log))
        targets = [greedy(log, 0.5), greedy(log, 1.0), *(always(log, model) for model in log.models)]
        for target in targets:
            found = success(log, target)
            truth = (target * simulated.scores[rows]).sum(axis=1).mean()
            for name in ESTIMATORS:
                interval = getattr(found, name)
                inside[name].append(interval.low <= truth <= interval.high)
                widths[name].append(width(interval))
    return {n: np.mean(v) for n, v in inside.items()}, {n: np.mean(v) for n, v in widths.items()}


def test_intervals_hold_the_truth_about_as_often_as_they_say(simulated):
    """What each model does with each request is known: it was asked."""
    share, widths = coverage(simulated, repetitions=40)
    for name in ESTIMATORS:
        assert 0.93 < share[name] <= 1, share
    assert widths["doubly_robust"] < 0.7 * widths["inverse_propensity"]
    assert widths["doubly_robust"] < widths["self_normalised"]


def test_false_propensities_are_not_covered(simulated):
    """The same with probabilities that are not those of the draw: the test above can fail."""
    share, _ = coverage(
        simulated,
        repetitions=10,
        propensities_of=lambda log: np.full_like(log.propensities, 1 / len(log.models)),
    )
    assert share["inverse_propensity"] < 0.7
    assert share["self_normalised"] < 0.9


def test_the_logging_policy_itself_is_the_plain_mean():
    log = logged(rows=500)
    found = success(log, log.propensities)
    assert found.inverse_propensity.mean == pytest.approx(log.scores.mean())
    assert found.self_normalised.mean == pytest.approx(log.scores.mean())
    assert found.doubly_robust.mean == pytest.approx(log.propensities[0] @ TRUTH, abs=0.06)
    assert found.effective_rows == found.drawn_rows == pytest.approx(500)
    error = np.sqrt(log.scores.var() / 500)
    assert width(found.inverse_propensity) == pytest.approx(2 * 1.96 * error, rel=0.01)


def test_a_model_that_could_not_have_been_chosen_is_refused():
    log = logged(logging=np.array([0.0, 1.0, 0.0]))
    with pytest.raises(NoSupport, match=r"nothing was explored \(on 100% of the requests\)"):
        success(log, always(log, "large"))
    by_policy = {found.policy: found for found in evaluate(log, [1.0])}
    assert by_policy["always middle"].refused is None
    assert by_policy["without exploring"].success == by_policy["as logged"].success
    assert "could not have been chosen" in by_policy["V0 at β=1"].refused
    assert by_policy["V0 at β=1"].success is None


def test_a_model_that_was_not_there_is_refused_as_such():
    log = logged(rows=1000)
    candidates, chances = log.candidates.copy(), log.propensities.copy()
    absent = log.chosen[:300] == 1
    candidates[:300, 2][absent] = False
    chances[:300, 2][absent] = 0
    early = replace(log, candidates=candidates, propensities=chances / chances.sum(axis=1, keepdims=True))
    with pytest.raises(NoSupport, match=r"was no candidate: .* \(on \d+% of the requests\)"):
        success(early, always(early, "small"))


def test_a_few_requests_without_support_are_left_out():
    log = logged(rows=1000)
    rare = np.flatnonzero(log.chosen == 1)[:9]
    candidates, chances = log.candidates.copy(), log.propensities.copy()
    candidates[rare, 0], chances[rare, 0] = False, 0
    found = success(replace(log, candidates=candidates, propensities=chances), always(log, "large"))
    assert (found.rows, found.unsupported) == (991, pytest.approx(0.009))


def test_what_came_of_a_draw_counts_whoever_answered_in_the_end():
    """The middle model is down: who draws it gets the best answer of the others, and nobody else learns that it is."""
    log = logged(rows=20_000)
    fell = log.drawn[:, 1]
    answered = np.where(fell, 0, log.chosen)
    scores = (np.random.default_rng(1).random(20_000) < TRUTH[answered]).astype(float)
    down = replace(log, chosen=answered, scores=scores)
    for model, truth in (("large", 0.8), ("middle", 0.8), ("small", 0.2)):
        found = success(down, always(down, model))
        for name in ESTIMATORS:
            assert getattr(found, name).mean == pytest.approx(truth, abs=0.03), (model, name)


def test_any_of_several_may_have_been_drawn():
    """Two are down, both ahead of the third in rank: drawing either ends at the third."""
    log = logged(rows=20_000)
    both = ~log.drawn[:, 2]
    drawn = np.where(both[:, None], [True, True, False], log.drawn)
    down = replace(log, chosen=np.full(20_000, 2), drawn=drawn, scores=np.ones(20_000))
    mixed = np.tile([0.5, 0.2, 0.3], (20_000, 1))
    for target in (mixed, always(down, "large"), always(down, "small")):
        found = success(down, target)
        for name in ESTIMATORS:
            assert getattr(found, name).mean == pytest.approx(1, abs=0.03)


def test_too_few_effective_rows_are_refused_whatever_was_drawn():
    """A policy that agrees with the log on most requests, and on the others wants what was all but never tried."""
    log = logged(rows=30)
    with pytest.raises(NoSupport, match=r"6\.0 effective rows of 30, 20 are needed: about 100 requests"):
        success(log, always(log, "large"))
    rows = 400
    chances = np.tile([0.001, 0.998, 0.001], (rows, 1))
    target = np.zeros((rows, 3))
    target[:300, 1], target[300:, 0] = 1, 1
    drawn = np.eye(3, dtype=bool)[np.full(rows, 1)]
    lucky = replace(logged(rows=rows), propensities=chances, chosen=np.full(rows, 1), drawn=drawn)
    with pytest.raises(
        NoSupport, match=r"1\.6 effective rows of 400"
    ):  # (Σ w)² / Σ w² of what was drawn is 300
        success(lucky, target)
    with pytest.raises(NoSupport, match="no decision in the log"):
        estimate(log, log.propensities, np.full(30, np.nan), log.values)


def test_equal_outcomes_do_not_look_certain():
    log = replace(logged(rows=150), scores=np.ones(150))
    found = success(log, always(log, "large"))
    assert found.self_normalised.mean == 1
    assert width(found.self_normalised) > 0.1


def test_a_target_that_is_no_distribution_is_an_error():
    log = logged(rows=30)
    with pytest.raises(ValueError, match="distribution"):
        success(log, 2 * log.propensities)


def test_greedy_follows_beta_and_skips_models_that_were_out():
    log = logged(rows=3)
    assert greedy(log, 1.0).argmax(axis=1).tolist() == [0, 0, 0]
    assert greedy(log, 0.0).argmax(axis=1).tolist() == [2, 2, 2]
    values, costs = log.values.copy(), log.expected_costs.copy()
    values[0, 0] = costs[0, 0] = np.nan
    assert greedy(replace(log, values=values, expected_costs=costs), 1.0).argmax(axis=1).tolist() == [1, 0, 0]
    values[1] = 0.5  # equals go to the cheaper
    assert greedy(replace(log, values=values, expected_costs=costs), 1.0)[1].argmax() == 2


def test_greedy_takes_each_decisions_own_unit_of_cost():
    log = logged(rows=3)
    scales = np.array([0.010, 0.1, np.nan])  # in the second, everything is cheap; the third takes the median
    found = greedy(replace(log, cost_scales=scales), 0.6).argmax(axis=1)
    assert found.tolist() == [1, 0, 0]


def test_greedy_is_the_gateways_rule(simulated):
    rows = np.arange(100)
    for beta in (0.0, 0.3, 0.8, 1.0):
        decided = simulated.decisions(rows, beta, 0.0, seed=0)
        log = simulated.log(rows, decided, 0.0)
        np.testing.assert_array_equal(greedy(log, beta), unexplored(log))
        assert [log.models[m] for m in unexplored(log).argmax(axis=1)] == [each.chosen for each in decided]


def test_what_v0_would_choose_is_not_guessed_from_values_of_something_else():
    log = logged(rows=1000)
    together = replace(log, values=np.full_like(log.values, np.nan))
    by_policy = {found.policy: found for found in evaluate(together, [0.5])}
    assert "success and cost together" in by_policy["V0 at β=0.5"].refused
    assert by_policy["always large"].success.doubly_robust.mean == pytest.approx(0.8, abs=0.06)


def test_costs_are_estimated_where_they_were_recorded():
    log = logged()
    by_policy = {found.policy: found for found in evaluate(log, [0.5, 1.0])}
    assert list(by_policy) == [
        "as logged", "without exploring", "V0 at β=0.5", "V0 at β=1", "always large", "always middle",
        "always small",
    ]  # fmt: skip
    assert by_policy["always large"].cost.doubly_robust.mean == pytest.approx(0.010, rel=1e-6)
    unpaid = evaluate(replace(log, costs=np.full(4000, np.nan)), [1.0])[0]
    assert unpaid.success is not None
    assert unpaid.refused == "its cost: no decision in the log has it"


def test_exploration_is_read_off_the_propensities():
    assert logged(rows=5).exploration == pytest.approx(0.6)
    alone = np.array([[True, False, False]] * 5)
    assert replace(logged(rows=5), candidates=alone).exploration == 0
