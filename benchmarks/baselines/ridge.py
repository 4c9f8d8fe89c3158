"""A ridge regression of each model's scores on the frozen embedding: the least that learning can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.baselines.base import Baseline, mean_scores, squared_error
from benchmarks.baselines.regression import RidgeRegressions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.baselines.base import Queries, Table


class RidgePerModel(Baseline):
    """One penalty for all models, chosen on the validation prompts; new models are fitted under it, each alone."""

    name = "ridge"
    takes_new_models = True

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        del seed
        self._fits = RidgeRegressions(
            train.embeddings,
            train.scores,
            mean_scores(train),
            validation.embeddings,
            lambda success: squared_error(success, validation),
        )

    def _learn_models(self, seen: Table) -> None:
        self._fits.add(seen.embeddings, seen.scores, mean_scores(seen))

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        return self._fits.predict(queries.embeddings)
