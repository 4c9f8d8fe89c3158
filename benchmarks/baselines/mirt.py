"""IRT-Router's multidimensional item response theory (MIRT; arXiv 2506.01048): abilities against difficulties.

P = σ(a·θ_m − b) with discrimination a = softplus(W_a·q) and difficulty b = W_b·q of a query, ability θ_m of a model.
A query that training has not seen is drawn towards its neighbours in training: (1 − λ)·q + λ·mean, λ = 0.3.
Route to argmax β·P − (1 − β)·(output price in USD per token × 1e5), the authors' rule, where all prices are known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.baselines import gradient
from benchmarks.baselines.base import Baseline, Prediction, cheapest_best, squared_error
from benchmarks.baselines.regression import logistic, sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.baselines.base import Indices, Queries, Table
    from benchmarks.outcomes import ModelFacts

DIMENSIONS = 25
BATCH = 512  # pairs
EPOCHS = 9
LEARNING_RATE = 1e-3
LEAST_STEPS = 4000
WARMTH = 0.3  # λ
NEIGHBOURS = 5  # how many, the paper leaves open
PRICE_UNIT = 10.0  # USD per million tokens: price per token × 1e5 is 1
LEAST_VARIANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class PricedPrediction(Prediction):
    """A prediction with what the models charge."""

    prices: NDArray[np.float64]  # (M,) USD per million output tokens, NaN where unknown

    def take(self, models: Indices) -> Self:
        """The prediction for a fleet of some of the models, in the order asked for."""
        columns = np.asarray(models, dtype=np.intp)
        return replace(super().take(columns), prices=self.prices[columns])


class ItemResponse(nn.Module):
    """Embeddings (B, D) to logits (B, M)."""

    def __init__(self, models: int, input_width: int) -> None:
        super().__init__()
        self.ability = nn.Embedding(models, DIMENSIONS)
        self.discrimination = nn.Linear(input_width, DIMENSIONS)
        self.difficulty = nn.Linear(input_width, 1)

    def forward(self, queries: torch.Tensor) -> torch.Tensor:
        return F.softplus(self.discrimination(queries)) @ self.ability.weight.T - self.difficulty(queries)


class Mirt(Baseline):
    """
    As published: 25 dimensions, Adam 1e-3, 512 pairs a batch, 9 epochs (on small tables as many as make 4,000
    steps), of which validation chooses.

    The authors compute θ from an embedding of the model's written profile. Outcome tables have no profiles, so θ is
    a free vector here, and a new model's is fitted to its outcomes, the rest staying as it is.
    """

    name = "mirt"
    takes_new_models = True
    has_prior = True

    def predict(self, queries: Queries) -> PricedPrediction:
        """Success and mean cost, with the output prices for `route`."""
        prices = [np.nan if model.output_price is None else model.output_price for model in self._models]
        return PricedPrediction(self._success(queries), self.expected_costs(), prices=np.array(prices))

    def route(self, prediction: Prediction, beta: float, cost_scale: float) -> NDArray[np.intp]:
        """The authors' rule; V0's where a price is unknown."""
        if not isinstance(prediction, PricedPrediction) or np.isnan(prediction.prices).any():
            return super().route(prediction, beta, cost_scale)
        charged = (1 - beta) * prediction.prices / PRICE_UNIT
        return cheapest_best(beta * prediction.success - charged, prediction.cost)

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        from sklearn.neighbors import NearestNeighbors

        self._models: tuple[ModelFacts, ...] = train.models
        self._trained = train.embeddings
        self._search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(train.texts)), algorithm="brute")
        self._search.fit(train.embeddings)
        queries, judged = torch.from_numpy(train.embeddings), self._warmed(validation.embeddings)
        labels, seen = gradient.masked(train.scores)
        with gradient.seeded(seed):
            network = ItemResponse(len(train.models), queries.shape[1])
            gradient.train(
                network,
                torch.optim.Adam(network.parameters(), lr=LEARNING_RATE),
                lambda rows: gradient.cross_entropy(network(queries[rows]), labels[rows], seen[rows]),
                gradient.shuffled(
                    len(queries), gradient.prompts_of(BATCH, train.observed), EPOCHS, LEAST_STEPS
                ),
                lambda: squared_error(torch.sigmoid(network(judged)).numpy(), validation),
            )
        self._network = network
        self._abilities: NDArray[np.float64] = network.ability.weight.detach().double().numpy()
        self._known = len(self._abilities)

    def _learn_models(self, seen: Table) -> None:
        """Each new ability is the most probable one, were abilities drawn as those of the trained models were."""
        trained = self._abilities[: self._known]
        precision = 1 / np.maximum(trained.var(axis=0), LEAST_VARIANCE)
        discrimination, difficulty = self._items(torch.from_numpy(seen.embeddings))
        fitted = logistic(discrimination, seen.scores, precision, trained.mean(axis=0), -difficulty)
        self._abilities = np.concatenate([self._abilities, fitted])
        self._models = (*self._models, *seen.models)

    def _warmed(self, embeddings: NDArray[np.float32]) -> torch.Tensor:
        near = self._search.kneighbors(embeddings, return_distance=False)
        mean = self._trained[near].mean(axis=1)
        return torch.from_numpy(((1 - WARMTH) * embeddings + WARMTH * mean).astype(np.float32))

    def _items(self, queries: torch.Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Discrimination (B, 25) and difficulty (B, 1)."""
        with torch.no_grad():
            discrimination = F.softplus(self._network.discrimination(queries))
            return discrimination.numpy(), self._network.difficulty(queries).numpy()

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        discrimination, difficulty = self._items(self._warmed(queries.embeddings))
        return sigmoid(discrimination @ self._abilities.T - difficulty)
