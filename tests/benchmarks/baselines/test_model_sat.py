from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import HashingVectorizer

from benchmarks.baselines.model_sat import ModelSat, aptitude_text, keywords
from tests.benchmarks.baselines.contract import LearnedRouterContract


def encode(texts):
    """Texts to rows, without a language model."""
    return HashingVectorizer(n_features=32).transform(texts).toarray().astype(np.float32)


class TestModelSat(LearnedRouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return lambda: ModelSat(encode)


def test_an_aptitude_is_told_in_words_in_the_order_asked_for():
    text = aptitude_text(np.array([0.617, 0.05]), ["law, court", "sum, proof"], np.array([1, 0]))
    assert text == "accuracy 5% on task (sum, proof); accuracy 62% on task (law, court)"


def test_keywords_are_what_sets_a_task_apart():
    texts = ["the tenant and the court case", "a court case", "an integral case", "integral sums case"]
    first, second = keywords(texts, np.array([0, 0, 1, 1]), 2)
    assert "court" in first
    assert "integral" in second
    assert "case" not in first.split(", ")[:2]
    assert keywords(["1 + 1", "2"], np.array([0, 1]), 2) == ["task 0", "task 1"]


def test_by_default_minilm_reads_the_aptitude():
    from benchmarks.baselines.model_sat import _minilm

    close, far, same = _minilm()(["accuracy 90% on law", "a recipe for bread", "accuracy 90% on law"])
    np.testing.assert_allclose(close, same, atol=1e-4)
    assert close @ far < 0.5
