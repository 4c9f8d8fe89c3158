from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from benchmarks.baselines.v0_tabpfn import V0Tabpfn
from tests.benchmarks.baselines.contract import LearnedRouterContract


class TestV0Tabpfn(LearnedRouterContract):
    """TabPFN's weights are not here: a classifier with its interface stands in for it."""

    registered = False

    @pytest.fixture(scope="class")
    @classmethod
    def seen_world(cls, valued_world):
        return valued_world

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls, value_model, tmp_path_factory):
        weights = tmp_path_factory.mktemp("weights") / "tabpfn.ckpt"
        weights.touch()
        return lambda: V0Tabpfn(
            weights, 256, value_model, classifier=partial(LogisticRegression, max_iter=1000)
        )

    def test_it_stays_within_what_tabpfn_reads(self, fitted, seen_world):
        features = fitted._features(seen_world.test.value_embeddings)
        assert features.shape[1] <= 500
        np.testing.assert_array_equal(features[:, -16:], seen_world.test.value_embeddings[:, -16:])


def test_weights_that_are_not_there_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no TabPFN weights at .*nowhere\.ckpt"):
        V0Tabpfn(tmp_path / "nowhere.ckpt")
