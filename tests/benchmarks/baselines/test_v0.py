from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.baselines.base import cost_scale, cost_weighted
from benchmarks.baselines.v0 import V0Router, V0Weighted
from tests.benchmarks.baselines.contract import LearnedRouterContract


class V0Contract(LearnedRouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def seen_world(cls, valued_world):
        return valued_world


class TestV0Router(V0Contract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls, value_model):
        return lambda: V0Router(256, value_model)

    def test_a_context_is_some_of_the_observed_outcomes(self, seen_world, value_model):
        router = V0Router(20, value_model)
        router.fit(seen_world.train, seen_world.validation, seed=0)
        for column, history in enumerate(router._histories):
            assert len(history.scores) == 20
            assert not np.isnan(history.scores).any()
            row = np.flatnonzero((seen_world.train.value_embeddings == history.embeddings[0]).all(axis=1))[0]
            assert history.scores[0] == seen_world.train.scores[row, column]

    def test_values_are_those_of_v0(self, fitted, seen_world, value_model):
        pairs = [(history.embeddings, history.scores) for history in fitted._histories]
        contexts = value_model.fit_fleet(pairs)
        expected = value_model.value(seen_world.test.value_embeddings, contexts)[:, 2]
        found = fitted.predict(seen_world.test.queries).success[:, 2]
        np.testing.assert_allclose(found, expected, atol=1e-4)

    def test_embeddings_that_are_not_given_are_computed(self, fitted, seen_world):
        few = seen_world.test.take(range(4))
        given = fitted.predict(few.queries).success
        computed = fitted.predict(replace(few, value_embeddings=None).queries).success
        np.testing.assert_allclose(computed, given, atol=1e-3)


class TestV0Weighted(V0Contract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls, value_model):
        return lambda: V0Weighted(256, value_model)

    def test_it_chooses_by_the_value_of_cost_weighted_labels(self, fitted, seen_world, value_model):
        scale = cost_scale(seen_world.train)
        prediction = fitted.predict(seen_world.test.queries)
        pairs = [
            (each.embeddings, 0.4 * each.scores + 0.6 * (1 - np.minimum(1, each.costs / scale)))
            for each in fitted._histories
        ]
        contexts = value_model.fit_fleet(pairs)
        expected = value_model.value(seen_world.test.value_embeddings, contexts)[:, 1]
        np.testing.assert_allclose(prediction.of(0.4, scale)[:, 1], expected, atol=1e-4)
        chosen = fitted.route(prediction, 0.4, scale)
        np.testing.assert_array_equal(chosen, prediction.of(0.4, scale).argmax(axis=1))

    def test_a_fleet_is_valued_with_the_whole_and_once(self, fitted, seen_world):
        prediction = fitted.predict(seen_world.test.queries)
        fleet = prediction.take([5, 2])
        np.testing.assert_array_equal(fleet.of(0.3, 1.0)[:, 1], prediction.of(0.3, 1.0)[:, 2])
        assert fleet.kept is prediction.kept
        assert len(prediction.kept) == 1

    def test_both_readings_agree_where_cost_does_not_count(self, fitted, seen_world):
        prediction = fitted.predict(seen_world.test.queries)
        separate = cost_weighted(prediction, 1.0, 1.0).argmax(axis=1)
        np.testing.assert_array_equal(fitted.route(prediction, 1.0, 1.0), separate)
