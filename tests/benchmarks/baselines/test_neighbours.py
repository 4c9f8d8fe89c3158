from __future__ import annotations

import numpy as np

from benchmarks.baselines import neighbours
from benchmarks.baselines.neighbours import Neighbours

NAN = np.nan


def test_means_are_over_the_nearest_prompts_that_were_asked():
    """Prompts 0 … 9 on a line. Column 0 is whole, column 1 has one gap, column 2 many."""
    line = np.arange(10, dtype=np.float32)[:, None]
    values = np.stack([np.arange(10.0), np.arange(10.0), np.full(10, NAN), np.full(10, NAN)], axis=1)
    values[1, 1] = NAN
    values[[5, 9], 2] = [1.0, 0.0]
    search = Neighbours(line, values, unknown=np.array([0, 0, 0, 0.7]), most=4, cosine=False)
    means = search.means(np.array([[0.9]], dtype=np.float32), [1, 3])
    np.testing.assert_allclose(means[0, 0], [1.0, 0.0, 1.0, 0.7])  # the only neighbour is a gap: unknown
    np.testing.assert_allclose(means[1, 0], [1.0, 1.0, 0.5, 0.7])


def test_queries_in_parts_are_as_queries_together(monkeypatch):
    rng = np.random.default_rng(0)
    rows, queries = rng.random((30, 3), dtype=np.float32), rng.random((7, 3), dtype=np.float32)
    search = Neighbours(rows, rng.random((30, 2)), unknown=np.zeros(2), most=5, cosine=True)
    together = search.means(queries, [2, 5])
    monkeypatch.setattr(neighbours, "ELEMENTS", 1)
    np.testing.assert_allclose(search.means(queries, [2, 5]), together)
