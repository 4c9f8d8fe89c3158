"""A logistic regression of each model's scores on the frozen embedding; a score r counts as r successes of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.baselines.base import Baseline, mean_scores, squared_error
from benchmarks.baselines.regression import linear, logistic, sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.baselines.base import Queries, Table

PENALTIES = (0.3, 1.0, 3.0, 10.0)  # on weights, as scikit-learn's 1/C
ON_INTERCEPT = 0.1  # a model that only succeeds stays finite


class LogisticPerModel(Baseline):
    """One penalty for all models, chosen on the validation prompts; new models are fitted under it, each alone."""

    name = "logistic"
    takes_new_models = True

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        del seed
        best = float("inf")
        for penalty in PENALTIES:
            fit = self._fitted(train, penalty)
            error = squared_error(sigmoid(linear(validation.embeddings, fit)), validation)
            if error < best or penalty == PENALTIES[0]:
                best, self._penalty, self._fit = error, penalty, fit

    def _learn_models(self, seen: Table) -> None:
        self._fit = np.concatenate([self._fit, self._fitted(seen, self._penalty)])

    def _fitted(self, table: Table, penalty: float) -> NDArray[np.float64]:
        """(M, D+1); the intercept, last, is drawn towards the mean score of all models."""
        features = np.hstack([table.embeddings, np.ones((len(table.texts), 1), dtype=np.float32)])
        precision = np.full(features.shape[1], penalty)
        precision[-1] = ON_INTERCEPT
        centre = np.zeros(features.shape[1])
        mean = float(np.clip(mean_scores(table).mean(), 0.01, 0.99))
        centre[-1] = np.log(mean / (1 - mean))
        return logistic(features, table.scores, precision, centre)

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        return sigmoid(linear(queries.embeddings, self._fit))
