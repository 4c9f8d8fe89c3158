"""The best model of each dataset, for prompts whose dataset is told: a reference, since a gateway is never told.

LLMRouterBench's observation is that learned routers tie near this line. Here it is chosen on training and
validation prompts; `oracle.per_dataset` is the line that sees the test scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.baselines.base import Baseline, mean_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.baselines.base import Queries, Table


class PerDatasetBest(Baseline):
    """
    Success is the model's mean score on the dataset; over all of them where it has none there.

    It weighs cost as V0 does.
    """

    name = "per-dataset-best"
    learns = False
    takes_new_models = True

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        del seed
        datasets = [*train.datasets, *validation.datasets]
        scores = np.concatenate([train.scores, validation.scores])
        self._overall = mean_scores(train)
        self._order = {name: row for row, name in enumerate(sorted(set(datasets)))}
        self._means = self._of_datasets(datasets, scores, self._overall)

    def _learn_models(self, seen: Table) -> None:
        overall = mean_scores(seen)
        means = self._of_datasets(seen.datasets, seen.scores, overall)
        self._overall = np.concatenate([self._overall, overall])
        self._means = np.concatenate([self._means, means], axis=1)

    def _of_datasets(
        self, datasets: list[str], scores: NDArray[np.float32], overall: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(datasets, M); datasets that `fit` did not see are left out."""
        means = np.tile(overall, (len(self._order), 1))
        names = np.array(datasets, dtype=object)
        for name, row in self._order.items():
            of_dataset = scores[names == name]
            observed = ~np.isnan(of_dataset)
            totals = np.where(observed, of_dataset, 0).sum(axis=0, dtype=np.float64)
            np.divide(totals, observed.sum(axis=0), out=means[row], where=observed.any(axis=0))
        return means

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        means = np.concatenate([self._means, self._overall[None]])
        return means[[self._order.get(name, len(self._order)) for name in queries.datasets]]
