from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.baselines.knn import CosineKnn
from benchmarks.baselines.on_v0 import OnV0
from benchmarks.baselines.registry import LEARNED, REGISTRY, on_v0
from benchmarks.baselines.ridge import RidgePerModel
from tests.benchmarks.baselines.contract import LearnedRouterContract


class TestRidgeOnV0(LearnedRouterContract):
    registered = False

    @pytest.fixture(scope="class")
    @classmethod
    def seen_world(cls, valued_world):
        return valued_world

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls, value_model):
        return lambda: OnV0(RidgePerModel(), value_model)

    def test_it_does_not_look_at_the_sentence_embedding(self, fitted, seen_world):
        queries = seen_world.test.queries
        without = replace(queries, embeddings=np.full_like(queries.embeddings, np.nan))
        np.testing.assert_array_equal(fitted.predict(without).success, fitted.predict(queries).success)

    def test_it_reads_what_the_head_reads_at_unit_length(self, fitted, seen_world, value_model):
        seen = fitted._seen(seen_world.train)
        assert seen.embeddings.shape[1] == value_model.dim + value_model._network.head.config.axes
        assert np.mean(np.sum(seen.embeddings**2, axis=1)) == pytest.approx(1, rel=1e-4)

    def test_embeddings_that_are_not_given_are_computed(self, fitted, seen_world):
        few = seen_world.test.take(range(4)).queries
        computed = fitted.predict(replace(few, value_embeddings=None)).success
        np.testing.assert_allclose(computed, fitted.predict(few).success, atol=1e-2)


def test_new_models_are_taken_in_by_routers_that_can(value_model):
    assert OnV0(CosineKnn(), value_model).takes_new_models


def test_every_learned_baseline_is_there_on_v0s_embedding():
    assert set(LEARNED) == {
        name for name, make in REGISTRY.items() if make().learns and not name.startswith("v0")
    }
    for name, make in on_v0().items():
        assert make().name == name
