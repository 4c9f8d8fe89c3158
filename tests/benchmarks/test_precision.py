from __future__ import annotations

import numpy as np
import pytest

from benchmarks.precision import losses
from router.value.corpus import Source

TEXTS = [f"What is {i} + {i * 7 % 11}?" for i in range(40)] + [f"Where is city {i}?" for i in range(40)]


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)
    likely = np.array([[0.85 if (p < 40) == (m % 2 == 0) else 0.15 for m in range(4)] for p in range(80)])
    scores = (rng.random((80, 4)) < likely).astype(np.float32)
    scores[::9, 1] = np.nan
    return Source("toy", [str(p) for p in range(80)], TEXTS, ["a"] * 80, [f"m{m}" for m in range(4)], scores)


def test_the_same_embeddings_lose_nothing(value_model, source):
    (found,) = losses(source, value_model, value_model, (32, 64), 80, 0)  # 64 leave too few questions
    assert (found.rows, found.models, found.prompts) == (32, 4, 80)
    assert found.cosine == pytest.approx(1, abs=1e-5)
    assert (found.quick, found.mixed, found.worst) == (0, 0, 0)
    assert found.exact > 0.7


def test_embeddings_of_something_else_lose_what_was_known(value_model, source):
    class Blind:
        @staticmethod
        def embed_all(texts):
            return value_model.embed_all(["x"] * len(texts))

    (found,) = losses(source, value_model, Blind, (32,), 80, 0)
    assert found.cosine < 0.9
    assert found.quick > 0.2
    assert found.mixed > 0.2
