"""A baseline that reads what V0 reads, so that a sweep shows what V0's head earns and what its embedding does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.baselines.base import Baseline, Prediction, Queries, Table
    from router.value.model import V0


class OnV0:
    """
    `router` with V0's embedding and the axes that V0's reader finds in it, in place of the sentence embedding.

    Rows keep their lengths, which tell something; all are scaled alike, to about the unit length of what they replace.
    """

    def __init__(self, router: Baseline, value_model: V0 | None = None, weights: Path | None = None) -> None:
        """Without a `value_model`, `weights` or the shipped are loaded."""
        self._router, self._given, self._weights = router, value_model, weights
        self.name = f"{router.name}@v0"
        self.learns, self.takes_new_models = router.learns, router.takes_new_models
        self.has_prior = router.has_prior

    def fit(self, train: Table, validation: Table, seed: int) -> None:
        """Learn from `train`, choose on `validation`."""
        if self._given is None:
            from router.value.model import V0

            self._given = V0.load(self._weights)
        self._length = float(np.sqrt(np.mean(np.sum(np.square(self._features(train)), axis=1))))
        self._router.fit(self._seen(train), self._seen(validation), seed)

    def add_models(self, seen: Table) -> None:
        """Take in new models, where the router can."""
        self._router.add_models(self._seen(seen))

    def predict(self, queries: Queries) -> Prediction:
        """As the router does."""
        return self._router.predict(self._seen(queries))

    def route(self, prediction: Prediction, beta: float, cost_scale: float) -> NDArray[np.intp]:
        """As the router does."""
        return self._router.route(prediction, beta, cost_scale)

    @overload
    def _seen(self, prompts: Table) -> Table: ...
    @overload
    def _seen(self, prompts: Queries) -> Queries: ...
    def _seen(self, prompts: Table | Queries) -> Table | Queries:
        return replace(prompts, embeddings=self._features(prompts) / self._length)

    def _features(self, prompts: Table | Queries) -> NDArray[np.float32]:
        assert self._given is not None
        own = prompts.value_embeddings
        return self._given.features(self._given.embed(prompts.texts) if own is None else own)
