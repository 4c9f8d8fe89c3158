"""RouterDC (arXiv 2409.19886): queries and models in one space, by two contrastive losses.

Query to model: each of the best three models that scored above 0 against the worst three, those above 0.5 left out
of them. Query to query: one of the same cluster against three of others. Cosine similarity, temperature 1.
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

WIDTH = 768
SPREAD = 0.78  # of the model vectors at the start
TOP, LAST = 3, 3
CLUSTERS = 5
NEGATIVES = 3
TIE_LOTS = 1e-4
BATCH = 64
ROUNDS, STEPS = 20, 50  # 1,000 steps, validated every 50
LEARNING_RATE = 1e-3


class Contrast(nn.Module):
    """Embeddings (B, D) to queries (B, WIDTH) beside model vectors (M, WIDTH)."""

    def __init__(self, models: int, input_width: int) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(input_width, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.models = nn.Parameter(SPREAD * torch.randn(models, WIDTH))

    def forward(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines with every model (B, M), and with every query of the batch (B, B)."""
        states = F.normalize(self.encode(queries), dim=-1)
        return states @ F.normalize(self.models, dim=-1).T, states @ states.T


class RouterDc(Baseline):
    """
    As published: 1,000 steps of AdamW, both losses weighing 1, the step chosen by accuracy, on validation prompts.

    The authors fine-tune mDeBERTa at 5e-5. Here the encoder is frozen and a network of two layers on top of it is
    trained, from scratch and so at 1e-3. A cosine is no probability: success is σ(slope·cosine + offset), fitted on
    the validation prompts.
    """

    name = "routerdc"

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        from sklearn.cluster import KMeans

        clustering = KMeans(min(CLUSTERS, len(train.texts)), random_state=seed).fit(train.embeddings)
        clusters = torch.as_tensor(clustering.labels_, dtype=torch.long)
        queries = torch.from_numpy(train.embeddings)
        scores, seen = gradient.masked(train.scores)
        with gradient.seeded(seed):
            network = Contrast(len(train.models), queries.shape[1])

            def loss(rows: torch.Tensor) -> torch.Tensor:
                to_models, to_queries = network(queries[rows])
                return model_loss(to_models, scores[rows], seen[rows]) + cluster_loss(
                    to_queries, clusters[rows]
                )

            gradient.train(
                network,
                torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE),
                loss,
                gradient.drawn(len(queries), BATCH, ROUNDS, STEPS),
                lambda: -routed_score(_cosines(network, validation.embeddings), validation.scores),
            )
        self._network = network
        self._slope, self._offset = platt(_cosines(network, validation.embeddings), validation.scores)

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        return sigmoid(self._slope * _cosines(self._network, queries.embeddings) + self._offset)


def model_loss(cosines: torch.Tensor, scores: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """
    Σ over the best three of mean −log softmax of each against the worst three; unobserved models are in neither.

    Lots are drawn among equals, of which scores of 0 and 1 have many; else the order of the columns would decide.
    """
    top, last = min(TOP, cosines.shape[1]), min(LAST, cosines.shape[1])
    lots = TIE_LOTS * torch.rand(scores.shape)
    best = (torch.where(seen > 0, scores, -1.0) + lots).topk(top, dim=1).indices
    worst = (torch.where(seen > 0, scores, 2.0) + lots).topk(last, dim=1, largest=False).indices
    best_scores = torch.where(seen > 0, scores, -1.0).gather(1, best)
    worst_scores = torch.where(seen > 0, scores, 2.0).gather(1, worst)
    against = cosines.gather(1, worst).masked_fill(worst_scores > 0.5, float("-inf"))  # (B, last)
    total = torch.zeros(())
    for place in range(top):
        positive = cosines.gather(1, best[:, place : place + 1])
        lost = torch.logsumexp(torch.cat([positive, against], dim=1), dim=1) - positive[:, 0]
        total = total + (lost * (best_scores[:, place] > 0)).mean()
    return total


def cluster_loss(cosines: torch.Tensor, clusters: torch.Tensor) -> torch.Tensor:
    """Mean −log softmax of one random query of the same cluster against three of others, where there are three."""
    same = clusters.unsqueeze(1) == clusters.unsqueeze(0)  # (B, B)
    chance = torch.rand(cosines.shape)
    positive = cosines.gather(1, (chance * same).argmax(dim=1, keepdim=True))
    count = min(NEGATIVES, len(clusters))
    others = (chance * ~same).topk(count, dim=1).indices
    negatives = cosines.gather(1, others)
    enough = (~same).sum(dim=1) >= NEGATIVES
    lost = torch.logsumexp(torch.cat([positive, negatives], dim=1), dim=1) - positive[:, 0]
    return (lost * enough).sum() / enough.sum().clamp(min=1)


def routed_score(values: NDArray[np.floating], scores: NDArray[np.floating]) -> float:
    """Mean score of the model of the highest value among those observed; −∞ where none is."""
    observed = ~np.isnan(scores)
    rows = observed.any(axis=1)
    if not rows.any():
        return float("-inf")
    chosen = np.where(observed, values, -np.inf)[rows].argmax(axis=1)
    return float(np.take_along_axis(scores[rows], chosen[:, None], axis=1).mean())


def _cosines(network: Contrast, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        states = F.normalize(network.encode(torch.from_numpy(embeddings)), dim=-1)
        cosines: NDArray[np.float32] = (states @ F.normalize(network.models, dim=-1).T).numpy()
    return cosines
