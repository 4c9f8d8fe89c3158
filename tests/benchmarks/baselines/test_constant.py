from __future__ import annotations

import pytest

from benchmarks.baselines.constant import Constant
from tests.benchmarks.baselines.contract import RouterContract


class TestConstant(RouterContract):
    registered = False

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return lambda: Constant("model-2")

    def test_it_takes_its_model_wherever_that_stands(self, fitted, seen_world):
        prediction = fitted.predict(seen_world.test.queries)
        assert fitted.name == "constant:model-2"
        for beta in (0.0, 1.0):
            assert set(fitted.route(prediction, beta, 1.0)) == {2}
        assert set(fitted.route(prediction.take([5, 2]), 0.5, 1.0)) == {1}

    def test_a_model_that_no_table_has_is_named(self, seen_world):
        router = Constant("model-9")
        router.fit(seen_world.train, seen_world.validation, seed=0)
        with pytest.raises(ValueError, match="'model-9' is not among model-0, model-1"):
            router.predict(seen_world.test.queries)
