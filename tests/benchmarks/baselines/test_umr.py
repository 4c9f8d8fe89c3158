from __future__ import annotations

import numpy as np
import pytest

from benchmarks.baselines.umr import Umr
from tests.benchmarks.baselines.contract import LearnedRouterContract


class TestUmr(LearnedRouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return Umr

    def test_success_is_the_mean_score_in_the_querys_cluster(self, fitted, seen_world):
        train, query = seen_world.train, seen_world.test.queries
        clustering = fitted._clustering
        same = clustering.labels_ == clustering.predict(query.embeddings)[0]
        expected = np.nanmean(train.scores[same], axis=0)
        np.testing.assert_allclose(fitted.predict(query).success[0], expected, atol=1e-6)
