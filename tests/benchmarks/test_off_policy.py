from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.off_policy import Log, NoSupport, always, estimate, evaluate, greedy

TRUTH = np.array([0.8, 0.5, 0.2])
COSTS = np.array([0.010, 0.002, 0.001])
LOGGING = np.array([0.2, 0.6, 0.2])


def logged(rows=4000, seed=0, logging=LOGGING, bias=0.0):
    """Traffic in which model m succeeds with TRUTH[m], and predictions that are off by `bias`."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(3, size=rows, p=logging)
    return Log(
        models=("large", "middle", "small"),
        chosen=chosen,
        propensities=np.tile(logging, (rows, 1)),
        values=np.tile(np.clip(TRUTH + bias, 0, 1), (rows, 1)),
        expected_costs=np.tile(COSTS, (rows, 1)),
        scores=(rng.random(rows) < TRUTH[chosen]).astype(float),
        costs=COSTS[chosen],
    )


@pytest.mark.parametrize("bias", [0.0, 0.15])
def test_every_estimator_recovers_what_a_policy_would_have_earned(bias):
    log = logged(bias=bias)
    found = estimate(log, always(log, "large"), log.scores, log.values)
    for interval in (found.inverse_propensity, found.self_normalised, found.doubly_robust):
        assert interval.mean == pytest.approx(0.8, abs=0.05)
        assert interval.low < 0.8 < interval.high
    assert found.effective_rows == pytest.approx(0.2 * 4000, rel=0.1)
    assert (found.rows, found.unsupported) == (4000, 0)


def test_good_predictions_narrow_the_interval():
    log = logged()
    found = estimate(log, always(log, "large"), log.scores, log.values)

    def width(interval):
        return interval.high - interval.low

    assert width(found.doubly_robust) < 0.8 * width(found.inverse_propensity)


def test_the_logging_policy_itself_is_the_plain_mean():
    log = logged(rows=500)
    found = estimate(log, log.propensities, log.scores, log.values)
    assert found.inverse_propensity.mean == pytest.approx(log.scores.mean())
    assert found.self_normalised.mean == pytest.approx(log.scores.mean())
    assert found.doubly_robust.mean == pytest.approx(log.propensities[0] @ TRUTH, abs=0.06)
    assert found.effective_rows == pytest.approx(500)


def test_a_model_that_could_not_have_been_chosen_is_refused():
    log = logged(logging=np.array([0.0, 1.0, 0.0]))
    with pytest.raises(NoSupport, match="on 100% of the requests it picks a model that the log could not"):
        estimate(log, always(log, "large"), log.scores, log.values)
    by_policy = {found.policy: found for found in evaluate(log, [1.0])}
    assert by_policy["always middle"].refused is None
    assert "could not have chosen" in by_policy["V0 at β=1"].refused
    assert by_policy["V0 at β=1"].success is None


def test_too_few_effective_rows_are_refused():
    log = logged(rows=30)
    with pytest.raises(NoSupport, match="effective rows of 30"):
        estimate(log, always(log, "large"), log.scores, log.values)
    with pytest.raises(NoSupport, match="no decision in the log"):
        estimate(log, log.propensities, np.full(30, np.nan), log.values)


def test_a_target_that_is_no_distribution_is_an_error():
    log = logged(rows=30)
    with pytest.raises(ValueError, match="distribution"):
        estimate(log, 2 * log.propensities, log.scores, log.values)


def test_greedy_follows_beta_and_skips_models_that_were_out():
    log = logged(rows=3)
    assert greedy(log, 1.0).argmax(axis=1).tolist() == [0, 0, 0]
    assert greedy(log, 0.0).argmax(axis=1).tolist() == [2, 2, 2]
    values, costs = log.values.copy(), log.expected_costs.copy()
    values[0, 0] = costs[0, 0] = np.nan
    assert greedy(replace(log, values=values, expected_costs=costs), 1.0).argmax(axis=1).tolist() == [1, 0, 0]


def test_costs_are_estimated_where_they_were_recorded():
    log = logged()
    by_policy = {found.policy: found for found in evaluate(log, [0.5, 1.0])}
    assert list(by_policy)[:3] == ["as logged", "V0 at β=0.5", "V0 at β=1"]
    assert by_policy["always large"].cost.doubly_robust.mean == pytest.approx(0.010, rel=1e-6)
    unpaid = evaluate(replace(log, costs=np.full(4000, np.nan)), [1.0])[0]
    assert unpaid.success is not None
    assert unpaid.refused == "cost: no decision in the log has this outcome"
