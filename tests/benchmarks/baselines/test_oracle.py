from __future__ import annotations

import numpy as np

from benchmarks.baselines import oracle
from benchmarks.baselines.registry import REGISTRY

NAN = np.nan


def test_the_cheapest_correct_model_else_the_cheapest():
    scores = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 1], [NAN, 1, NAN], [NAN, 0, 0]])
    costs = np.array([[3, 2, 1], [3, 2, 1], [1, NAN, 5], [NAN, 9, 1], [1, 3, 2]], dtype=float)
    np.testing.assert_array_equal(oracle.per_prompt(scores, costs), [1, 2, 2, 1, 2])


def test_no_model_beats_it_where_scores_lie_between():
    rng = np.random.default_rng(0)
    scores, costs = rng.random((50, 4)), rng.random((50, 4))
    chosen = oracle.per_prompt(scores, costs)
    np.testing.assert_array_equal(scores[np.arange(50), chosen], scores.max(axis=1))


def test_a_prompt_nobody_was_asked_gets_the_cheapest_model():
    np.testing.assert_array_equal(oracle.per_prompt(np.array([[NAN, NAN]]), np.array([[2.0, 1.0]])), [1])
    np.testing.assert_array_equal(oracle.per_prompt(np.array([[NAN, NAN]]), np.array([[NAN, NAN]])), [0])


def test_each_dataset_gets_the_best_model_of_the_test():
    scores = np.array([[1, 0], [1, 0], [0, 1], [NAN, 1]])
    chosen = oracle.per_dataset(scores, np.ones((4, 2)), ["a", "a", "b", "b"])
    np.testing.assert_array_equal(chosen, [0, 0, 1, 1])
    tied = oracle.per_dataset(np.ones((2, 2)), np.array([[2.0, 1.0]] * 2), ["a", "a"])
    np.testing.assert_array_equal(tied, [1, 1])


def test_no_router_of_the_registry_is_an_oracle():
    assert not any("oracle" in name for name in REGISTRY)
