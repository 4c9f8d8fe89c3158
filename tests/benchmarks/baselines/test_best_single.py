from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.baselines.best_single import BestSingle
from tests.benchmarks.baselines.contract import RouterContract


class TestBestSingle(RouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return BestSingle

    def test_validation_chooses_and_training_stands_in_where_it_is_silent(self, seen_world):
        train = seen_world.train.take(range(2), models=[0, 1, 2])
        train = replace(train, scores=np.array([[1, 0, 0.7], [1, 0, 0.7]], dtype=np.float32))
        validation = seen_world.validation.take(range(2), models=[0, 1, 2])
        scores = np.array([[0, 1, np.nan], [0, 1, np.nan]], dtype=np.float32)
        router = BestSingle()
        router.fit(train, replace(validation, scores=scores), seed=0)
        prediction = router.predict(seen_world.test.queries)
        np.testing.assert_allclose(prediction.success[0], [0, 1, 0.7], atol=1e-6)
        assert set(router.route(prediction, 0.0, 1.0)) == {1}
        assert set(router.route(prediction.take([0, 2]), 0.0, 1.0)) == {1}
