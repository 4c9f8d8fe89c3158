from __future__ import annotations

import numpy as np

from benchmarks.baselines.clusters import group_means


def test_means_of_each_group_are_over_what_was_observed():
    values = np.array([[1, 0], [0, np.nan], [1, np.nan]])
    means = group_means(np.array([0, 0, 2]), values, 3, unknown=np.array([0.1, 0.2]))
    np.testing.assert_allclose(means, [[0.5, 0.0], [0.1, 0.2], [1.0, 0.2]])
