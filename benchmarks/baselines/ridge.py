"""A ridge regression of each model's scores on the frozen embedding: the least that learning can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.baselines.base import Baseline, mean_scores, squared_error
from benchmarks.baselines.regression import linear, ridge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.baselines.base import Queries, Table

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class RidgePerModel(Baseline):
    """One penalty for all models, chosen on the validation prompts; new models are fitted under it, each alone."""

    name = "ridge"
    takes_new_models = True

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        del seed
        fits = ridge(train.embeddings, train.scores, PENALTIES, mean_scores(train))
        errors = [squared_error(linear(validation.embeddings, fit), validation) for fit in fits]
        best = int(np.argmin(errors))
        self._penalty, self._fit = PENALTIES[best], fits[best]

    def _learn_models(self, seen: Table) -> None:
        fit = ridge(seen.embeddings, seen.scores, [self._penalty], mean_scores(seen))[0]
        self._fit = np.concatenate([self._fit, fit])

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        return linear(queries.embeddings, self._fit)
