from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import metrics
from router.value import metrics as plain

SCORES = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
COSTS = np.array([[1.0, 4.0], [1.0, 4.0], [1.0, 4.0], [1.0, 2.0]])


def test_what_was_picked():
    assert metrics.picked(SCORES, np.array([0, 1, 1, 1])).tolist() == [1, 1, 0, 1]
    assert metrics.picked(SCORES, np.array([[0, 0, 0, 0], [1, 1, 1, 1]])).tolist() == [
        [1, 0, 0, 1],
        [0, 1, 0, 1],
    ]
    assert metrics.shares(np.array([0, 1, 1, 1]), 3).tolist() == [0.25, 0.75, 0]


def test_weighted_means():
    weights = np.array([[1.0, 1, 1, 1], [0, 2, 0, 2]])
    assert metrics.weighted_mean(np.array([1.0, 0, 0, 1]), weights).tolist() == [0.5, 0.5]
    assert metrics.weighted_mean(SCORES.T, weights).tolist() == [[0.5, 0.5], [0.5, 1.0]]


def test_reward_and_regret():
    # scale 4: c̃ is .25 and 1 (last row: .25 and .5)
    rewards = metrics.reward(SCORES, COSTS, 0.5, 4.0)
    assert rewards[0].tolist() == pytest.approx([0.5 + 0.5 * 0.75, 0.0])
    assert rewards[1].tolist() == pytest.approx([0.375, 0.5])
    assert metrics.regret(SCORES, COSTS, np.array([0, 0, 0, 1]), 0.5, 4.0).tolist() == pytest.approx(
        [0, 0.125, 0, 0.125]
    )
    assert metrics.regret(SCORES, COSTS, np.array([1, 0, 0, 1]), 1.0, 4.0).tolist() == [1, 1, 0, 0]


def test_share_of_the_gap():
    assert metrics.gap_closed(0.7, 0.6, 0.8) == pytest.approx(0.5)
    assert metrics.gap_closed(0.5, 0.6, 0.8) == pytest.approx(-0.5)
    assert np.isnan(metrics.gap_closed(0.7, 0.8, 0.8))


def test_recall_counts_prompts_that_few_models_solve():
    scores = np.zeros((5, 8))
    scores[0, 0] = scores[1, [0, 1]] = scores[2, [0, 1, 2]] = scores[4, 3] = (
        1  # 1, 2, 3, 0 and 1 solvers of 8
    )
    assert metrics.few_solve(scores).tolist() == [True, True, False, False, True]
    assert metrics.model_recall(scores, np.array([0, 5, 0, 0, 3])) == pytest.approx(2 / 3)
    assert np.isnan(metrics.model_recall(np.ones((3, 2)), np.zeros(3, dtype=int)))
    assert metrics.few_solve(SCORES).tolist() == [True, True, False, False]  # in a fleet of two: one


def test_resamples_keep_the_number_of_draws_and_groups_together():
    weights = metrics.resamples(np.array([7, 8, 9, 7]), 50, seed=1)
    assert weights.shape == (50, 4)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 3])
    np.testing.assert_array_equal(weights[:, :3].sum(axis=1), 3)
    np.testing.assert_array_equal(weights, metrics.resamples(np.array([7, 8, 9, 7]), 50, seed=1))


def test_an_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        sample = (rng.random(100) < 0.3).astype(float)
        drawn = metrics.weighted_mean(sample, metrics.resamples(np.arange(100), 300, seed=trial))
        low, high = metrics.interval(drawn)
        covered += low <= 0.3 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_a_router_less_itself_is_exactly_nothing():
    sample = np.random.default_rng(0).random(40)
    drawn = metrics.weighted_mean(sample, metrics.resamples(np.arange(40), 100, seed=0))
    assert metrics.paired_difference(drawn, drawn) == (0.0, 0.0)
    shifted = metrics.weighted_mean(sample + 0.1, metrics.resamples(np.arange(40), 100, seed=0))
    assert metrics.paired_difference(shifted, drawn) == pytest.approx((0.1, 0.1))


def test_an_interval_of_nothing_is_nothing():
    assert np.isnan(metrics.interval(np.full(5, np.nan))).all()


@given(
    st.lists(st.tuples(st.integers(0, 10), st.sampled_from([0.0, 0.3, 0.5, 1.0])), min_size=1, max_size=30),
)
def test_unit_weights_give_the_metrics_of_the_value_model(pairs):
    values = np.array([v / 10 for v, _ in pairs])[:, None]
    scores = np.array([s for _, s in pairs])[:, None]
    found = metrics.prediction_quality(values, scores, np.ones((1, len(pairs))))
    expected = {
        "auc": plain.auc(values[:, 0], scores[:, 0]),
        "pairwise": plain.pairwise_accuracy(values[:, 0], scores[:, 0]),
        "mse": plain.calibration_mse(values[:, 0], scores[:, 0]),
        "ece": plain.expected_calibration_error(values[:, 0], scores[:, 0]),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name][0], value, atol=1e-12)


def test_a_weight_of_two_is_the_prompt_twice():
    rng = np.random.default_rng(1)
    values, scores = rng.random((6, 2)).round(1), (rng.random((6, 2)) < 0.5).astype(float)
    weights = np.array([[2.0, 0, 1, 1, 3, 1]])
    repeated = np.repeat(np.arange(6), weights[0].astype(int))
    once = metrics.prediction_quality(values, scores, weights)
    spelt = metrics.prediction_quality(values[repeated], scores[repeated], np.ones((1, len(repeated))))
    for name, figure in once.items():
        np.testing.assert_allclose(figure, spelt[name])


def test_quality_leaves_out_what_was_not_observed_and_models_of_one_class():
    success = np.array([[0.9, 0.5], [0.1, 0.5], [0.4, 0.5]])
    scores = np.array([[1.0, 1.0], [0.0, 1.0], [np.nan, 1.0]])
    found = metrics.prediction_quality(success, scores, np.ones((1, 3)))
    assert found["auc"][0] == 1.0
    assert found["mse"][0] == pytest.approx((0.01 + 0.25) / 2)


def test_calibration_bins():
    bins = metrics.calibration(np.array([[0.05], [0.08], [1.0]]), np.array([[0.0], [1.0], [1.0]]))
    assert [(each.count, each.observed) for each in bins] == [(2, 0.5), (1, 1.0)]
    assert bins[0].predicted == pytest.approx(0.065)
