"""The best model of each dataset, for prompts whose dataset is told: a reference, since a gateway is never told.

LLMRouterBench's observation is that learned routers tie near this line. Here it is chosen on training and
validation prompts; `oracle.per_dataset` is the line that sees the test scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.baselines.base import Baseline, mean_scores
from benchmarks.baselines.clusters import group_means

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
        self._order = {name: row for row, name in enumerate(sorted(set(datasets)))}
        scores = np.concatenate([train.scores, validation.scores])
        self._means = self._of_datasets(datasets, scores, mean_scores(train))

    def _learn_models(self, seen: Table) -> None:
        means = self._of_datasets(seen.datasets, seen.scores, mean_scores(seen))
        self._means = np.concatenate([self._means, means], axis=1)

    def _of_datasets(
        self, datasets: list[str], scores: NDArray[np.float32], overall: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(datasets + 1, M): the last row is for datasets that `fit` did not see."""
        return group_means(self._rows(datasets), scores, len(self._order) + 1, overall)

    def _rows(self, datasets: list[str]) -> NDArray[np.intp]:
        return np.array([self._order.get(name, len(self._order)) for name in datasets], dtype=np.intp)

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        return self._means[self._rows(queries.datasets)]
