"""Means of a table over groups of its prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.cluster import KMeans


def clusters_of(clustering: KMeans, embeddings: NDArray[np.float32]) -> NDArray[np.intp]:
    """The cluster of each prompt, also of none: (P,)."""
    if not len(embeddings):
        return np.zeros(0, dtype=np.intp)
    return np.asarray(clustering.predict(embeddings), dtype=np.intp)


def group_means(
    groups: NDArray[np.intp], values: NDArray[np.floating], count: int, unknown: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Mean of values (N, M) over each of `count` groups (N,): (count, M); `unknown` (M,) where none was observed."""
    totals, seen = group_sums(groups, values, count)
    return np.divide(totals, seen, out=np.tile(unknown.astype(np.float64), (count, 1)), where=seen > 0)


def group_sums(
    groups: NDArray[np.intp], values: NDArray[np.floating], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of the observed values (N, M) in each of `count` groups (N,): (count, M) both."""
    observed = ~np.isnan(values)
    totals = np.zeros((count, values.shape[1]))
    seen = np.zeros_like(totals)
    np.add.at(totals, groups, np.where(observed, values, 0.0))
    np.add.at(seen, groups, observed)
    return totals, seen
