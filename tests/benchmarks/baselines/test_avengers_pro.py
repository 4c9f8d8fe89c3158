from __future__ import annotations

import numpy as np
import pytest

from benchmarks.baselines.avengers_pro import AvengersPro, ClusterPrediction, balance, near, ranking
from tests.benchmarks.baselines.contract import LearnedRouterContract


class TestAvengersPro(LearnedRouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return AvengersPro


def test_a_clusters_score_weighs_accuracy_and_cost_each_in_its_own_range():
    accuracies, costs = np.array([[0.2, 0.6, 1.0]]), np.array([[1.0, 2.0, 4.0]])
    np.testing.assert_allclose(balance(accuracies, costs, 0.6), [[0.4 * 0.75, 0.6 * 0.5 + 0.4 * 0.5, 0.6]])
    alike = balance(np.array([[0.5, 0.5]]), np.zeros((1, 2)), 0.3)
    np.testing.assert_allclose(alike, [[1.0, 1.0]])


def test_the_three_nearest_centres_weigh_by_a_softmax_of_their_distance():
    centres = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    weights = near(np.array([[0.6, 0.8]]), centres)[0]
    powers = np.exp(-9 * (1 - np.array([0.6, 0.8, -0.6])))
    np.testing.assert_allclose(weights[:3], powers / powers.sum())
    assert weights[3] == 0


def test_ranks_are_summed_and_not_scores():
    """Model 0 wins by far in cluster 0; model 1 wins cluster 1 by a hair, and that has more weight."""
    np.testing.assert_array_equal(ranking(np.array([[0.9, 0.1, 0.5]])), [[1, 3, 2]])
    prediction = ClusterPrediction(
        success=np.zeros((1, 2)),
        cost=np.ones(2),
        weights=np.array([[0.45, 0.55]]),
        accuracies=np.array([[1.0, 0.0], [0.50, 0.51]]),
        costs=np.ones((2, 2)),
    )
    assert AvengersPro().route(prediction, 1.0, 1.0).tolist() == [1]
