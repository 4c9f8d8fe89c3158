"""EmbedLLM (arXiv 2410.02223): a vector for every model, learned by predicting who answers what.

logits = W₂·(p_m ⊙ (W₁·q + b₁)) + b₂, two classes, cross-entropy. A new model gets a vector of its own while the rest
stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from benchmarks.baselines import gradient
from benchmarks.baselines.base import Baseline, squared_error
from benchmarks.baselines.regression import logistic, sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.baselines.base import Queries, Table

WIDTH = 232
NOISE = 0.05  # standard deviation, on every dimension of a training query
BATCH = 2048  # pairs
EPOCHS = 50
LEARNING_RATE = 1e-4
LEAST_STEPS = 10_000
LEAST_VARIANCE = 1e-3


class Factorisation(nn.Module):
    """Embeddings (B, D) to logit₁ − logit₀ of every model, (B, M)."""

    def __init__(self, models: int, input_width: int) -> None:
        super().__init__()
        self.models = nn.Embedding(models, WIDTH)
        self.project = nn.Linear(input_width, WIDTH)
        self.classify = nn.Linear(WIDTH, 2)

    def features(self, queries: torch.Tensor) -> torch.Tensor:
        """What a model's vector is multiplied with: (B, WIDTH)."""
        weight = self.classify.weight
        return self.project(queries) * (weight[1] - weight[0])

    def offset(self) -> torch.Tensor:
        """The logit that all models and queries share."""
        return self.classify.bias[1] - self.classify.bias[0]

    def forward(self, queries: torch.Tensor) -> torch.Tensor:
        if self.training:
            queries = queries + NOISE * torch.randn_like(queries)
        return self.features(queries) @ self.models.weight.T + self.offset()


class EmbedLlm(Baseline):
    """
    As published: 232 dimensions, noise 0.05, Adam 1e-4, weight decay 1e-5, 2,048 pairs a batch, 50 epochs or,
    on tables smaller than the authors' 3 million pairs, as many as make 10,000 steps.

    A batch holds all the models of its prompts. The epoch is chosen on the validation prompts (the numbers that
    LLMRouterBench marks with † are the best epochs on the test prompts).
    """

    name = "embedllm"
    takes_new_models = True
    has_prior = True

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        queries, judged = torch.from_numpy(train.embeddings), torch.from_numpy(validation.embeddings)
        labels, seen = gradient.masked(train.scores)
        with gradient.seeded(seed):
            network = Factorisation(len(train.models), queries.shape[1])
            gradient.train(
                network,
                torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-5),
                lambda rows: gradient.cross_entropy(network(queries[rows]), labels[rows], seen[rows]),
                gradient.shuffled(
                    len(queries), gradient.prompts_of(BATCH, train.observed), EPOCHS, LEAST_STEPS
                ),
                lambda: squared_error(torch.sigmoid(network(judged)).numpy(), validation),
            )
        self._network = network
        self._vectors: NDArray[np.float64] = network.models.weight.detach().double().numpy()  # (M, WIDTH)
        self._known = len(self._vectors)

    def _learn_models(self, seen: Table) -> None:
        """Each new vector is the most probable one, were vectors drawn as those of the trained models were."""
        trained = self._vectors[: self._known]
        precision = 1 / np.maximum(trained.var(axis=0), LEAST_VARIANCE)
        features, offset = self._features(seen.embeddings)
        fitted = logistic(features, seen.scores, precision, trained.mean(axis=0), offset)
        self._vectors = np.concatenate([self._vectors, fitted])

    def _features(self, embeddings: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        with torch.no_grad():
            features = self._network.features(torch.from_numpy(embeddings)).numpy()
            return features, float(self._network.offset())

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        features, offset = self._features(queries.embeddings)
        return sigmoid(features @ self._vectors.T + offset)
