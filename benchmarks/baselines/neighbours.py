"""Means over the nearest prompts that were asked, for tables with gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.baselines.regression import columns_by_gaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DENSE = 0.8  # columns observed on more of the prompts than this share one search
ELEMENTS = 4_000_000  # looked at in one go: bounds the memory
LEAST_NORM = 1e-12


class Neighbours:
    """
    Prompts (N, D) with values (N, V), NaN where not observed.

    The neighbours of a query are found once for all columns that are nearly complete, a gap among them being
    skipped; a column with many gaps has neighbours of its own, among the prompts where it was observed.
    """

    def __init__(
        self,
        embeddings: NDArray[np.float32],
        values: NDArray[np.floating],
        unknown: NDArray[np.floating],
        most: int,
        cosine: bool,
    ) -> None:
        """`unknown` (V,) stands where no neighbour was observed; `most` neighbours are ever asked for."""
        from sklearn.neighbors import NearestNeighbors

        self._unknown = unknown.astype(np.float64)
        self._cosine = cosine
        observed = ~np.isnan(values)
        dense = observed.mean(axis=0) >= DENSE if len(values) else np.zeros(values.shape[1], dtype=bool)
        groups = [(np.ones(len(values), dtype=bool), np.flatnonzero(dense))]
        sparse = np.flatnonzero(~dense)
        groups += [(rows, sparse[columns]) for rows, columns in columns_by_gaps(observed[:, sparse])]
        self._searches: list[tuple[NearestNeighbors, NDArray[np.floating], NDArray[np.intp]]] = []
        for rows, columns in groups:
            if len(columns) and rows.any():
                count = min(most, int(rows.sum()))
                search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(
                    self._scaled(embeddings[rows])
                )
                self._searches.append((search, values[np.ix_(rows, columns)], columns))

    def means(self, queries: NDArray[np.float32], counts: Sequence[int]) -> NDArray[np.float64]:
        """Mean value over the nearest `count` prompts, for each (ascending) count: (counts, P, V)."""
        result = np.tile(self._unknown, (len(counts), len(queries), 1))
        for search, values, columns in self._searches:
            nearest = min(counts[-1], search.n_neighbors)
            step = max(1, ELEMENTS // (nearest * len(columns)))
            for start in range(0, len(queries), step):
                part = slice(start, start + step)
                found = search.kneighbors(self._scaled(queries[part]), nearest, return_distance=False)
                self._accumulate(values, found, counts, columns, result[:, part])
        return result

    @staticmethod
    def _accumulate(
        values: NDArray[np.floating],
        found: NDArray[np.intp],
        counts: Sequence[int],
        columns: NDArray[np.intp],
        result: NDArray[np.float64],
    ) -> None:
        totals = np.zeros((len(found), len(columns)))
        seen = np.zeros_like(totals)
        before = 0
        for i, count in enumerate(counts):
            of_nearest = values[found[:, before:count]]  # (P, count − before, columns)
            known = ~np.isnan(of_nearest)
            totals += np.where(known, of_nearest, 0).sum(axis=1)
            seen += known.sum(axis=1)
            result[i][:, columns] = np.divide(totals, seen, out=result[i][:, columns], where=seen > 0)
            before = count

    def _scaled(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """On the unit sphere the order by Euclidean distance is the order by cosine."""
        if not self._cosine:
            return embeddings
        norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
        return (embeddings / np.maximum(norms, LEAST_NORM)).astype(np.float32)
