"""Always the model with the lowest mean training cost, whatever β."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.baselines.base import Baseline, mean_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.baselines.base import Prediction, Queries, Table


class Cheapest(Baseline):
    """Where no cost is known every model costs the same, and the first is taken."""

    name = "cheapest"
    learns = False
    takes_new_models = True

    def route(self, prediction: Prediction, beta: float, cost_scale: float) -> NDArray[np.intp]:
        """The cheapest column; costs are compared as they are, however small their unit makes them."""
        del beta, cost_scale
        return np.full(len(prediction.success), int(prediction.cost.argmin()), dtype=np.intp)

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        del validation, seed
        self._means = mean_scores(train)

    def _learn_models(self, seen: Table) -> None:
        self._means = np.concatenate([self._means, mean_scores(seen)])

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        return np.tile(self._means, (len(queries.texts), 1))
