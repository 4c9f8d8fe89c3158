from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.baselines.mirt import BATCH, DIMENSIONS, EPOCHS, ItemResponse, Mirt, PricedPrediction
from tests.benchmarks.baselines.contract import LearnedRouterContract


class TestMirt(LearnedRouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return Mirt


def test_its_settings_are_the_published_ones():
    assert (DIMENSIONS, BATCH, EPOCHS) == (25, 512, 9)


def test_the_logit_is_ability_times_discrimination_less_difficulty():
    torch.manual_seed(0)
    network = ItemResponse(models=2, input_width=3)
    query = torch.randn(1, 3)
    with torch.no_grad():
        a = torch.log1p(torch.exp(network.discrimination(query)[0]))
        expected = [float(a @ network.ability.weight[m] - network.difficulty(query)[0, 0]) for m in range(2)]
        np.testing.assert_allclose(network(query)[0], expected, rtol=1e-4)


def test_the_rule_charges_the_output_price_per_token_times_1e5():
    """At β = 0.8: 0.8·0.9 − 0.2·(20e-6·1e5) = 0.32 against 0.8·0.5 − 0.2·(1e-6·1e5) = 0.38."""
    success, cost = np.array([[0.9, 0.5]]), np.array([1.0, 1.0])
    priced = PricedPrediction(success, cost, prices=np.array([20.0, 1.0]))
    assert Mirt().route(priced, 0.8, 1.0).tolist() == [1]
    assert Mirt().route(priced, 1.0, 1.0).tolist() == [0]
    unpriced = PricedPrediction(success, cost, prices=np.array([20.0, np.nan]))
    assert Mirt().route(unpriced, 0.8, 1.0).tolist() == [0]


def test_a_query_is_drawn_towards_its_neighbours_in_training(topical_world):
    router = Mirt()
    router.fit(topical_world.train, topical_world.validation, seed=0)
    query, train = topical_world.test.embeddings[0], topical_world.train.embeddings
    nearest = np.argsort(np.linalg.norm(train - query, axis=1))[:5]
    expected = 0.7 * query + 0.3 * train[nearest].mean(axis=0)
    np.testing.assert_allclose(router._warmed(query[None])[0], expected, atol=1e-5)
