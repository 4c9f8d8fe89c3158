from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.baselines.per_dataset_best import PerDatasetBest
from tests.benchmarks.baselines.contract import RouterContract


class TestPerDatasetBest(RouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return PerDatasetBest

    def test_each_dataset_gets_its_own_best_model(self, fitted, seen_world):
        chosen = fitted.route(fitted.predict(seen_world.test.queries), 1.0, 1.0)
        assert (np.take_along_axis(seen_world.chances, chosen[:, None], axis=1) > 0.5).all()

    def test_an_unknown_dataset_gets_the_models_means(self, fitted, seen_world):
        queries = replace(seen_world.test.queries, datasets=["new"] * len(seen_world.test.texts))
        expected = np.nanmean(np.concatenate([seen_world.train.scores, seen_world.validation.scores]), axis=0)
        np.testing.assert_allclose(fitted.predict(queries).success[0], expected, atol=0.05)
