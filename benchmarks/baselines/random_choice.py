"""Any model with equal chance, whatever β: what a router is worth without knowing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.baselines.base import Baseline, Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.baselines.base import Queries, Table


class RandomChoice(Baseline):
    """Its success is a number drawn at random too, so that its prediction metrics are those of chance."""

    name = "random"
    learns = False
    takes_new_models = True
    has_prior = True

    def predict(self, queries: Queries) -> Prediction:
        """The same draw for the same seed and number of prompts."""
        success = self._success(queries)
        return Prediction(success, self.expected_costs(), preference=success)

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        del train, validation
        self._seed = seed

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        rng = np.random.default_rng(self._seed)
        return rng.random((len(queries.texts), len(self._mean_costs)))
