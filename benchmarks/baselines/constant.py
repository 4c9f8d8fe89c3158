"""Always one and the same model, whatever β and the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.baselines.base import Baseline, Prediction, mean_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.baselines.base import Queries, Table


class Constant(Baseline):
    """The model may be one that is added later; while it is not there, `predict` raises."""

    learns = False
    takes_new_models = True

    def __init__(self, model: str) -> None:
        self.name = f"constant:{model}"
        self._model = model

    def predict(self, queries: Queries) -> Prediction:
        """Mean scores; the preference is 1 for the model. ValueError when no table has had it."""
        if self._model not in self._names:
            raise ValueError(f"model {self._model!r} is not among {', '.join(self._names)}")
        success = self._completed(self._success(queries))
        chosen = np.array(self._names) == self._model
        return Prediction(
            success, self.expected_costs(), np.broadcast_to(chosen.astype(np.float64), success.shape)
        )

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        del validation, seed
        self._names = [model.name for model in train.models]
        self._means = mean_scores(train)

    def _learn_models(self, seen: Table) -> None:
        self._names = self._names + [model.name for model in seen.models]
        self._means = np.concatenate([self._means, mean_scores(seen)])

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        return np.tile(self._means, (len(queries.texts), 1))
