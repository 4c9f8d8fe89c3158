from __future__ import annotations

import sys
from dataclasses import fields
from subprocess import run

import numpy as np
import pytest

from benchmarks.baselines.base import (
    Prediction,
    Queries,
    Table,
    cheapest_best,
    cost_scale,
    cost_weighted,
    mean_costs,
    mean_scores,
    squared_error,
)
from benchmarks.outcomes import ModelFacts
from tests.benchmarks.outcomes import tiny_outcomes

NAN = np.nan


def table(scores, costs=None):
    scores = np.array(scores, dtype=np.float32)
    costs = np.zeros(scores.shape) if costs is None else np.array(costs, dtype=np.float64)
    prompts, models = scores.shape
    facts = tuple(ModelFacts(f"m{m}") for m in range(models))
    return Table(
        np.eye(prompts, 3, dtype=np.float32), ["text"] * prompts, ["d"] * prompts, scores, costs, facts
    )


def test_queries_hold_nothing_that_was_scored():
    assert {field.name for field in fields(Queries)} == {
        "embeddings", "texts", "datasets", "value_embeddings",
    }  # fmt: skip
    outcomes = tiny_outcomes(prompts=5)
    embeddings = np.ones((5, 3), dtype=np.float32)
    assert Table.of(outcomes, embeddings).queries.texts == Queries.of(outcomes, embeddings).texts


def test_a_table_is_cut_by_prompts_and_models_in_the_order_asked_for():
    outcomes = tiny_outcomes(prompts=6, models=4)
    whole = Table.of(outcomes, np.arange(18, dtype=np.float32).reshape(6, 3))
    part = whole.take([4, 0], models=[3, 1])
    np.testing.assert_array_equal(part.scores, outcomes.scores[[4, 0]][:, [3, 1]])
    np.testing.assert_array_equal(part.embeddings[:, 0], [12, 0])
    assert [model.name for model in part.models] == ["model-3", "model-1"]
    assert part.texts == [outcomes.texts[4], outcomes.texts[0]]


def test_means_are_over_what_was_observed():
    seen = table([[1, NAN, NAN], [0, 1, NAN]], [[2, NAN, NAN], [4, NAN, NAN]])
    np.testing.assert_allclose(mean_scores(seen), [0.5, 1.0, 2 / 3])
    np.testing.assert_array_equal(mean_costs(seen), [3, NAN, NAN])
    assert cost_scale(seen) == 3
    assert cost_scale(table([[1.0]], [[NAN]])) == 0
    np.testing.assert_array_equal(mean_scores(table([[NAN, NAN]])), [0.5, 0.5])


def test_success_and_cost_are_weighed_by_beta():
    """β·success + (1 − β)·(1 − c̃), with c̃ = min(1, cost / scale), by hand."""
    prediction = Prediction(np.array([[0.9, 0.5]]), np.array([2.0, 0.5]))
    np.testing.assert_allclose(cost_weighted(prediction, 0.6, 1.0), [[0.54, 0.3 + 0.4 * 0.5]])
    np.testing.assert_allclose(cost_weighted(prediction, 0.6, 0.0), [[0.54 + 0.4, 0.3 + 0.4]])


def test_of_equals_the_cheaper_is_chosen():
    utility = np.array([[0.5, 0.5, 0.1], [0.1, 0.2, 0.9]])
    np.testing.assert_array_equal(cheapest_best(utility, np.array([3.0, 1.0, 2.0])), [1, 2])
    per_prompt = np.array([[1.0, 3.0, 2.0], [1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(cheapest_best(utility, per_prompt), [0, 2])


def test_squared_error_is_over_observed_pairs():
    assert squared_error(np.array([[0.5, 0.0]]), table([[1, NAN]])) == pytest.approx(0.25)
    assert squared_error(np.array([[0.5]]), table([[NAN]])) == float("inf")


def test_naming_the_routers_imports_no_library_of_learning():
    code = (
        "import sys; from benchmarks.baselines.registry import REGISTRY, constants; "
        "assert REGISTRY and not {'torch', 'sklearn'} & set(sys.modules)"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0
