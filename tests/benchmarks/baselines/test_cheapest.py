from __future__ import annotations

import pytest

from benchmarks.baselines.cheapest import Cheapest
from tests.benchmarks.baselines.contract import RouterContract


class TestCheapest(RouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return Cheapest

    def test_it_takes_the_cheapest_at_any_beta(self, fitted, seen_world):
        prediction = fitted.predict(seen_world.test.queries)
        for beta in (0.0, 1.0):
            assert set(fitted.route(prediction, beta, 1.0)) == {0}
        assert set(fitted.route(prediction.take([5, 3, 4]), 1.0, 1.0)) == {1}
