"""Always the model that did best on the validation prompts, whatever β: the line that a router has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.baselines.base import Baseline, Prediction, mean_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.baselines.base import Queries, Table


class BestSingle(Baseline):
    """A model without outcomes in validation is judged by training, a new model by what is seen of it."""

    name = "best-single"
    learns = False
    takes_new_models = True

    def predict(self, queries: Queries) -> Prediction:
        """Mean scores, which are the preference too."""
        success = self._completed(self._success(queries))
        return Prediction(success, self.expected_costs(), preference=success)

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        del seed
        judged = validation.observed.any(axis=0)
        self._means = np.where(judged, mean_scores(validation), mean_scores(train))

    def _learn_models(self, seen: Table) -> None:
        self._means = np.concatenate([self._means, mean_scores(seen)])

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        return np.tile(self._means, (len(queries.texts), 1))
