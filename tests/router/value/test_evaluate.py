from __future__ import annotations

import numpy as np
import pytest

from router.value.evaluate import knn, ridge
from router.value.metrics import auc


@pytest.fixture
def world():
    """Outcomes that depend on the direction of a unit vector, with noise."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 8)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    chance = 1 / (1 + np.exp(-6 * x[:, 0]))
    return x, (rng.random(400) < chance).astype(np.float32)


@pytest.mark.parametrize("predictor", [knn, ridge])
def test_a_baseline_learns_a_direction_from_its_context(world, predictor):
    x, r = world
    values = predictor(x[:200], r[:200], x[200:])
    assert values.shape == (200,)
    assert ((values >= 0) & (values <= 1)).all()
    assert auc(values, r[200:]) > 0.75


@pytest.mark.parametrize("predictor", [knn, ridge])
def test_shuffled_outcomes_teach_a_baseline_nothing(world, predictor):
    x, r = world
    rng = np.random.default_rng(1)
    found = [auc(predictor(x[:200], rng.permutation(r[:200]), x[200:]), r[200:]) for _ in range(12)]
    assert abs(np.mean(found) - 0.5) < 0.1


@pytest.mark.parametrize("predictor", [knn, ridge])
def test_a_context_of_one_class_gives_that_class(world, predictor):
    x, _ = world
    np.testing.assert_allclose(predictor(x[:20], np.ones(20, np.float32), x[20:30]), 1, atol=1e-5)
