from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.baselines.base import Table
from benchmarks.baselines.knn import CosineKnn, Knn, MajorityKnn
from benchmarks.outcomes import ModelFacts
from tests.benchmarks.baselines.contract import LearnedRouterContract


class TestMajorityKnn(LearnedRouterContract):
    shown = 240  # the votes of 131 say little where there are hardly more

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return MajorityKnn

    def test_success_is_the_share_of_131_votes(self, fitted, seen_world):
        query, train = seen_world.test.embeddings[0], seen_world.train
        nearest = np.argsort(np.linalg.norm(train.embeddings - query, axis=1))[:131]
        expected = np.nanmean(train.scores[nearest], axis=0)
        found = fitted.predict(seen_world.test.queries).success[0]
        np.testing.assert_allclose(found, expected, atol=0.02)  # the last of equals may differ


class TestCosineKnn(LearnedRouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return CosineKnn

    def test_the_length_of_an_embedding_does_not_matter(self, fitted, seen_world):
        queries = seen_world.test.queries
        longer = replace(queries, embeddings=3 * queries.embeddings)
        np.testing.assert_allclose(fitted.predict(longer).success, fitted.predict(queries).success)


def by_hand(train_scores, validation_scores):
    """Success of one model on prompts along a line, k of 1 and 3 chosen on validation."""

    def table(scores):
        scores = np.array(scores, dtype=np.float32)[:, None]
        line = np.arange(len(scores), dtype=np.float32)[:, None]
        texts = ["text"] * len(scores)
        return Table(line, texts, texts, scores, np.ones(scores.shape), (ModelFacts("m"),))

    router = Knn([1, 3], cosine=False)
    router.fit(table(train_scores), table(validation_scores), seed=0)
    return router.predict(table(validation_scores).queries).success[:, 0]


def test_one_neighbour_where_that_is_right():
    np.testing.assert_allclose(by_hand([1, 0, 1, 0], [1, 0, 1, 0]), [1, 0, 1, 0])


def test_three_neighbours_where_one_is_noise():
    np.testing.assert_allclose(by_hand([1, 1, 0, 1, 1], [1, 1, 1, 1, 1])[1:4], [2 / 3] * 3)
