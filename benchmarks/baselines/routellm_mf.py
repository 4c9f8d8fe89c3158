"""RouteLLM's matrix factorisation (arXiv 2406.18665), from two models to many.

δ_m = w·(v̂_m ⊙ W·q), v̂ a unit vector for each model, no bias. Of two models that scored differently on a prompt, the
winner is to have the higher δ: cross-entropy on δ_win − δ_lose, for every such pair of models. With two models this
is the published router, whose threshold on σ(δ_strong − δ_weak) becomes β.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.baselines import gradient
from benchmarks.baselines.base import Baseline
from benchmarks.baselines.regression import platt, sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.baselines.base import Queries, Table

WIDTH = 128
NOISE = 0.1  # standard deviation, on every dimension of a training query
BATCH = 128  # prompts, with all their pairs of models
EPOCHS = 100
LEARNING_RATE = 3e-4
LEAST_STEPS = 4000


class Preference(nn.Module):
    """Embeddings (B, D) to δ of every model, (B, M)."""

    def __init__(self, models: int, input_width: int) -> None:
        super().__init__()
        self.models = nn.Embedding(models, WIDTH)
        self.project = nn.Linear(input_width, WIDTH, bias=False)
        self.classify = nn.Linear(WIDTH, 1, bias=False)

    def forward(self, queries: torch.Tensor) -> torch.Tensor:
        if self.training:
            queries = queries + NOISE * torch.randn_like(queries)
        return (self.project(queries) * self.classify.weight[0]) @ F.normalize(self.models.weight, dim=-1).T


class RouteLlmMf(Baseline):
    """
    As published: 128 dimensions, noise 0.1, Adam 3e-4, weight decay 1e-5, 100 epochs (on small tables as many as
    make 4,000 steps), of which validation chooses.

    δ says who is better and not how good: success is σ(slope·δ + offset), fitted on the validation prompts.
    """

    name = "routellm-mf"

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        queries, judged = torch.from_numpy(train.embeddings), torch.from_numpy(validation.embeddings)
        scores, seen = gradient.masked(train.scores)
        held, held_seen = gradient.masked(validation.scores)
        with gradient.seeded(seed):
            network = Preference(len(train.models), queries.shape[1])
            gradient.train(
                network,
                torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-5),
                lambda rows: battle_loss(network(queries[rows]), scores[rows], seen[rows]),
                gradient.shuffled(len(queries), BATCH, EPOCHS, LEAST_STEPS),
                lambda: float(battle_loss(network(judged), held, held_seen)) if held_seen.any() else np.inf,
            )
        self._network = network
        self._slope, self._offset = platt(self._deltas(validation.embeddings), validation.scores)

    def _deltas(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            deltas: NDArray[np.float32] = self._network(torch.from_numpy(embeddings)).numpy()
        return deltas

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        return sigmoid(self._slope * self._deltas(queries.embeddings) + self._offset)


def battle_loss(deltas: torch.Tensor, scores: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Mean −log σ(δ_win − δ_lose) over the pairs of models, both observed, of which one scored higher."""
    wins = (scores.unsqueeze(2) > scores.unsqueeze(1)) & (seen.unsqueeze(2) * seen.unsqueeze(1) > 0)
    ahead = deltas.unsqueeze(2) - deltas.unsqueeze(1)  # (B, M, M): row against column
    return (F.softplus(-ahead) * wins).sum() / wins.sum().clamp(min=1)
