from __future__ import annotations

import numpy as np
import pytest

from benchmarks.baselines.random_choice import RandomChoice
from tests.benchmarks.baselines.contract import RouterContract


class TestRandomChoice(RouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return RandomChoice

    def test_every_model_is_as_likely_at_any_beta(self, fitted, seen_world):
        queries = seen_world.test.queries
        large = type(queries)(np.tile(queries.embeddings, (40, 1)), queries.texts * 40, queries.datasets * 40)
        prediction = fitted.predict(large)
        dear, cheap = fitted.route(prediction, 1.0, 1.0), fitted.route(prediction, 0.0, 1.0)
        np.testing.assert_array_equal(dear, cheap)
        np.testing.assert_allclose(np.bincount(dear) / len(dear), 1 / 6, atol=0.03)
