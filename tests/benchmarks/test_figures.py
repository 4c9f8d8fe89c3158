from __future__ import annotations

import numpy as np
import pytest

from benchmarks import figures, metrics


def truth(prompts=50, seed=0):
    rng = np.random.default_rng(seed)
    scores = (rng.random((prompts, 3)) < (0.3, 0.6, 0.8)).astype(float)
    costs = np.tile([1.0, 2.0, 4.0], (prompts, 1))
    weights = np.concatenate([np.ones((1, prompts)), metrics.resamples(np.arange(prompts), 20, seed=0)])
    return figures.Truth(scores, costs, weights, cost_scale=4.0)


def test_a_curve_of_constant_choices_is_the_single_models():
    given = truth()
    points = figures.curve(given, np.arange(3)[:, None] * np.ones((1, 50), dtype=int), None)
    np.testing.assert_allclose(points.accuracy, given.single_accuracy)
    np.testing.assert_allclose(points.cost, given.single_cost)
    assert points.share.tolist() == np.eye(3).tolist()
    assert given.cost_range == (1.0, 4.0)
    area = figures.area(points, given.cost_range)
    assert area["aiq"].shape == (21,)
    assert (area["aiq"] >= area["hypervolume"]).all()


def test_operating_points_are_chosen_on_validation_not_on_test():
    given = truth()
    points = figures.curve(given, np.arange(3)[:, None] * np.ones((1, 50), dtype=int), None)
    bar = figures.Bar(given.single_accuracy[2], given.single_cost[2], 0.5, np.ones(21))
    # on validation the middle one is the best, and the cheapest that is good enough, whatever the test says
    validated = figures.Validated(np.array([0.1, 0.9, 0.4]), np.array([1.0, 2.0, 4.0]))
    found = figures.against(points, bar, validated)
    middle = given.single_accuracy[1, 0]
    assert found["perf_gain"][0] == pytest.approx(middle / bar.accuracy[0] - 1)
    assert found["cost_save"][0] == pytest.approx(0.5)
    assert found["cost_save_accuracy"][0] == pytest.approx(middle - bar.accuracy[0])
    assert found["gap_closed"][0] == pytest.approx((middle - bar.accuracy[0]) / (1 - bar.accuracy[0]))
    never = figures.against(points, bar, figures.Validated(np.full(3, 0.1), np.ones(3)))
    assert np.isnan(never["cost_save"]).all()


def test_distances_are_to_the_frontier_of_all():
    given = truth()
    best = figures.curve(given, given.scores.argmax(axis=1)[None], None)
    worst = figures.curve(given, np.full((1, 50), 0), None)
    singles = figures.Curve(given.single_accuracy, given.single_cost, np.eye(3), None)
    found = figures.distances({"best": best, "worst": worst}, singles)
    np.testing.assert_allclose(found["best"], 0, atol=1e-12)
    np.testing.assert_allclose(found["worst"], 0, atol=1e-12)  # the cheapest is on the frontier, too
