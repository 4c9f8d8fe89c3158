"""Avengers-Pro (arXiv 2508.12631): models are ranked in each of 25 clusters, and near clusters vote.

In cluster k a model scores α·(acc − min)/(max − min) + (1 − α)·(1 − cost/max cost). A query's three nearest centres
weigh softmax(−9·(1 − q·centre)); as in the authors' code, it is 1/rank that is summed over them, not the score.
β takes the place of α.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from benchmarks.baselines.base import Baseline, Prediction, cheapest_best, mean_scores
from benchmarks.baselines.clusters import clusters_of, group_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.baselines.base import Indices, Queries, Table

CLUSTERS = 25
STARTS = 10
NEAREST = 3
SHARPNESS = 9.0


@dataclass(frozen=True, kw_only=True)
class ClusterPrediction(Prediction):
    """A prediction with what the clusters know, so that each β and each fleet is ranked anew."""

    weights: NDArray[np.float64]  # (P, K): of the nearest clusters, 0 elsewhere; rows sum to 1
    accuracies: NDArray[np.float64]  # (K, M)
    costs: NDArray[np.float64]  # (K, M)

    def take(self, models: Indices) -> Self:
        """The prediction for a fleet of some of the models, in the order asked for."""
        columns = np.asarray(models, dtype=np.intp)
        return replace(
            super().take(columns), accuracies=self.accuracies[:, columns], costs=self.costs[:, columns]
        )


class AvengersPro(Baseline):
    """Success is the weighted mean accuracy of the near clusters. A cell without outcomes has the model's mean."""

    name = "avengers-pro"
    takes_new_models = True

    def predict(self, queries: Queries) -> ClusterPrediction:
        """Success, mean cost, and the tables that `route` ranks by."""
        weights = near(_normalised(queries.embeddings), self._clustering.cluster_centers_)
        return ClusterPrediction(
            success=np.clip(weights @ self._accuracies, 0.0, 1.0),
            cost=self.expected_costs(),
            weights=weights,
            accuracies=self._accuracies,
            costs=np.where(np.isnan(self._costs), self.expected_costs(), self._costs),
        )

    def route(self, prediction: Prediction, beta: float, cost_scale: float) -> NDArray[np.intp]:
        """Argmax of Σ over near clusters of weight / rank; the cheaper of equals."""
        if not isinstance(prediction, ClusterPrediction):
            return super().route(prediction, beta, cost_scale)
        ranks = ranking(balance(prediction.accuracies, prediction.costs, beta))
        return cheapest_best(prediction.weights @ (1.0 / ranks), prediction.cost)

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        del validation
        from sklearn.cluster import KMeans

        count = min(CLUSTERS, len(train.texts))
        self._clustering = KMeans(count, n_init=STARTS, random_state=seed).fit(_normalised(train.embeddings))
        self._accuracies, self._costs = self._tables(train, self._clustering.labels_)

    def _learn_models(self, seen: Table) -> None:
        groups = clusters_of(self._clustering, _normalised(seen.embeddings))
        accuracies, costs = self._tables(seen, groups)
        unseen = self._unseen[-len(seen.models) :]  # ranked as the models of `fit` are on average
        accuracies[:, unseen] = self._accuracies[:, : self._trained_models].mean(axis=1, keepdims=True)
        self._accuracies = np.concatenate([self._accuracies, accuracies], axis=1)
        self._costs = np.concatenate([self._costs, costs], axis=1)

    def _tables(
        self, table: Table, groups: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        count = self._clustering.n_clusters
        mean_costs = self._mean_costs[-len(table.models) :]
        return (
            group_means(groups, table.scores, count, mean_scores(table)),
            group_means(groups, table.costs, count, mean_costs),
        )

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        return self.predict(queries).success


def near(queries: NDArray[np.floating], centres: NDArray[np.floating]) -> NDArray[np.float64]:
    """softmax(−9·(1 − q·centre)) over each query's three nearest centres: (P, K)."""
    distances = 1.0 - queries.astype(np.float64) @ centres.T
    count = min(NEAREST, distances.shape[1])
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :count]
    logits = -SHARPNESS * np.take_along_axis(distances, nearest, axis=1)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights = np.zeros_like(distances)
    np.put_along_axis(weights, nearest, powers / powers.sum(axis=1, keepdims=True), axis=1)
    return weights


def balance(accuracies: NDArray[np.float64], costs: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """α·(acc − min)/(max − min) + (1 − α)·(1 − cost/max cost) in each cluster: (K, M); 1 for what is all alike."""
    least = accuracies.min(axis=1, keepdims=True)
    width = accuracies.max(axis=1, keepdims=True) - least
    dearest = costs.max(axis=1, keepdims=True)
    skill = np.divide(accuracies - least, width, out=np.ones_like(accuracies), where=width > 0)
    spent = np.divide(costs, dearest, out=np.zeros_like(costs), where=dearest > 0)
    return alpha * skill + (1 - alpha) * (1 - spent)


def ranking(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """The rank of each score in its row, the highest 1; of equals the first is ahead: (K, M)."""
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.argsort(order, axis=1) + 1


def _normalised(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    from sklearn.preprocessing import normalize

    rows: NDArray[np.float32] = normalize(embeddings) if len(embeddings) else embeddings
    return rows
