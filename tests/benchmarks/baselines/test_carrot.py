from __future__ import annotations

import numpy as np
import pytest

from benchmarks.baselines.base import Prediction
from benchmarks.baselines.carrot import CarrotKnn, CarrotLinear
from tests.benchmarks.baselines.contract import LearnedRouterContract


class CarrotContract(LearnedRouterContract):
    def test_a_cost_is_predicted_for_each_prompt(self, fitted, seen_world):
        cost = fitted.predict(seen_world.test.queries).cost
        assert cost.shape == (len(seen_world.test.texts), 6)
        np.testing.assert_allclose(cost.mean(axis=0), np.nanmean(seen_world.train.costs, axis=0), rtol=0.2)


class TestCarrotKnn(CarrotContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return CarrotKnn


class TestCarrotLinear(CarrotContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return CarrotLinear


def test_the_rule_is_linear_in_cost_beyond_the_scale_too():
    """β·P − (1 − β)·C/scale: 0.45 − 0.5·3 against 0.35 − 0.5·2 at β = ½; c̃ would stop at 1 for both."""
    prediction = Prediction(np.array([[0.9, 0.7]]), np.array([[3.0, 2.0]]))
    assert CarrotLinear().route(prediction, 0.5, 1.0).tolist() == [1]
    assert CarrotLinear().route(prediction, 0.9, 10.0).tolist() == [0]
    assert CarrotLinear().route(prediction, 0.5, 0.0).tolist() == [0]
