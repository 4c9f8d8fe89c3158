from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import frontier

unit = st.floats(0, 1, allow_subnormal=False).map(lambda x: round(x, 6))
curves = st.lists(st.tuples(unit, unit), min_size=1, max_size=12).map(
    lambda points: (np.array([c for c, _ in points]), np.array([a for _, a in points]))
)


def test_pareto_keeps_what_nothing_beats():
    cost = [3.0, 1.0, 2.0, 2.0, 4.0]
    accuracy = [0.5, 0.4, 0.7, 0.6, 0.7]
    assert frontier.pareto(cost, accuracy).tolist() == [1, 2]
    assert frontier.pareto([1, 1], [0.5, 0.5]).tolist() == [0]


@given(curves)
def test_pareto_is_idempotent_rising_and_beaten_by_no_point(curve):
    cost, accuracy = curve
    best = frontier.pareto(cost, accuracy)
    again = frontier.pareto(cost[best], accuracy[best])
    assert again.tolist() == list(range(len(best)))
    assert (np.diff(cost[best]) > 0).all()
    assert (np.diff(accuracy[best]) > 0).all()
    for c, a in zip(cost, accuracy, strict=True):
        assert ((cost[best] <= c) & (accuracy[best] >= a)).any()


def test_hull_leaves_out_a_point_under_the_line():
    corners = frontier.hull([1, 2, 3, 4], [0.2, 0.25, 0.6, 0.5])
    assert corners.tolist() == [[1, 0.2], [3, 0.6]]


@given(curves)
def test_hull_is_non_decreasing_concave_and_over_every_point(curve):
    cost, accuracy = curve
    corners = frontier.hull(cost, accuracy)
    assert (np.diff(corners[:, 1]) >= 0).all()
    slopes = np.diff(corners[:, 1]) / np.diff(corners[:, 0])
    assert (np.diff(slopes) <= 1e-6 * np.maximum(1, np.abs(slopes[:-1]))).all()
    assert (frontier.accuracy_at(corners, cost) >= accuracy - 1e-9).all()


def test_the_hull_buys_nothing_for_nothing_and_no_more_than_its_best():
    corners = np.array([[2.0, 0.4], [4.0, 0.8]])
    assert frontier.accuracy_at(corners, [0, 1, 3, 9]).tolist() == pytest.approx([0, 0.2, 0.6, 0.8])


def test_aiq_is_the_mean_height_of_the_hull():
    # triangle under (1, .2)-(3, .6), then flat: (.4·2 + .6·1) / 3
    assert frontier.aiq([1, 3], [0.2, 0.6], 1, 4) == pytest.approx((0.4 * 2 + 0.6) / 3)
    # from 1 to 2 the single point is bought with a coin and the null router: mean of .25 and .5; from 2 on .5
    assert frontier.aiq([2], [0.5], 1, 3) == pytest.approx((0.375 + 0.5) / 2)
    assert frontier.aiq([1, 2], [0.3, 0.9], 2, 2) == 0.9


def test_aiq_of_the_zero_router_of_v0s_table():
    """The hull of the models of V0's Table 10, tokens against avg@10: .592 over its range."""
    cost, accuracy = [1911, 4605, 13577, 27428], [0.346, 0.433, 0.651, 0.675]
    assert frontier.aiq(cost, accuracy, 1911, 27428) == pytest.approx(0.592, abs=5e-4)


@given(curves)
def test_the_hull_of_all_is_worth_at_least_any_single_model(curve):
    cost, accuracy = curve
    low, high = cost.min(), cost.max()
    together = frontier.aiq(cost, accuracy, low, high)
    for c, a in zip(cost, accuracy, strict=True):
        assert together >= frontier.aiq([c], [a], low, high) - 1e-9
    assert together >= frontier.hypervolume(cost, accuracy, low, high) - 1e-9
    assert 0 <= together <= 1


def test_hypervolume_is_the_staircase():
    assert frontier.hypervolume([1, 3], [0.2, 0.6], 1, 4) == pytest.approx((0.2 * 2 + 0.6 * 1) / 3)
    assert frontier.hypervolume([2], [0.5], 0, 1) == 0  # too dear for every budget
    assert frontier.hypervolume([1], [0.5], 1, 1) == 0.5


def test_distance_to_the_joint_frontier_in_scaled_units():
    together, spans = frontier.joint([([0, 10], [0.0, 0.5]), ([10], [0.25])])
    assert together.tolist() == [[0, 0], [10, 0.5]]
    assert spans.tolist() == [10, 0.5]
    assert frontier.pareto_distance(together, spans, [0, 10], [0.0, 0.5]) == 0
    # (1, .5) in scaled units, to the diagonal: half of √2 / 2
    assert frontier.pareto_distance(together, spans, [10], [0.25]) == pytest.approx(np.sqrt(2) / 4)


@given(curves, curves)
def test_a_distance_is_finite_and_zero_on_the_frontier(one, other):
    together, spans = frontier.joint([one, other])
    assert frontier.pareto_distance(together, spans, *together.T) == pytest.approx(0, abs=1e-9)
    assert 0 <= frontier.pareto_distance(together, spans, *one) <= np.sqrt(2)


def test_gain_and_saving_against_the_best_single_model():
    assert frontier.perf_gain(0.66, 0.6) == pytest.approx(0.1)
    assert frontier.cost_save(3, 4) == 0.25
    assert np.isnan(frontier.perf_gain(0.5, 0))
    assert np.isnan(frontier.cost_save(1, 0))


def test_operating_points():
    cost, accuracy = [1, 2, 3, 4], [0.5, 0.7, 0.7, 0.6]
    assert frontier.most_accurate(cost, accuracy) == 1
    assert frontier.cheapest_as_good(cost, accuracy, 0.6) == 1
    assert frontier.cheapest_as_good(cost, accuracy, 0.7) == 1
    assert frontier.cheapest_as_good(cost, accuracy, 0.71) is None


def test_a_curve_without_points_or_with_holes_is_refused():
    for cost, accuracy in (([], []), ([1], [float("nan")]), ([1, 2], [0.5])):
        with pytest.raises(ValueError, match="point"):
            frontier.pareto(cost, accuracy)
