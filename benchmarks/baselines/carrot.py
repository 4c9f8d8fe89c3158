"""CARROT (arXiv 2502.03261): success P_m(x) and cost C_m(x) are predicted apart, each for every prompt.

Route to argmax (1 − λ)·P − λ·C. λ is 1 − β and costs are in units of the cost scale, which only relabels λ. The
authors predict by k nearest neighbours or a fine-tuned RoBERTa; on frozen embeddings the second becomes a ridge
regression.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.baselines.base import Baseline, Prediction, cheapest_best, mean_scores, squared_error
from benchmarks.baselines.neighbours import Neighbours
from benchmarks.baselines.regression import RidgeRegressions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.baselines.base import Queries, Table

COUNTS = tuple(2**power for power in range(1, 10))


class Carrot(Baseline):
    """What both have in common: the rule, and costs that are predicted per prompt."""

    def predict(self, queries: Queries) -> Prediction:
        """Success and cost of every model on every prompt; a cost is never below 0."""
        success, cost = self._both(queries.embeddings)
        cost = np.where(np.isnan(cost), self.expected_costs(), cost)
        return Prediction(self._completed(success), np.maximum(cost, 0.0))

    def route(self, prediction: Prediction, beta: float, cost_scale: float) -> NDArray[np.intp]:
        """Argmax of β·P − (1 − β)·C / scale; C is not cut off at the scale as c̃ is."""
        spent = prediction.cost / cost_scale if cost_scale > 0 else np.zeros_like(prediction.cost)
        return cheapest_best(beta * prediction.success - (1 - beta) * spent, prediction.cost)

    @abstractmethod
    def _both(self, embeddings: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Success and cost, (P, M) both; a cost that nothing is known of is NaN."""

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        return self._both(queries.embeddings)[0]


class CarrotKnn(Carrot):
    """
    k of 2¹ … 2⁹, one for success and one for cost: the authors' grid, searched on the validation prompts and not by
    their five-fold cross-validation on the training prompts.
    """

    name = "carrot-knn"
    takes_new_models = True

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        del seed
        self._parts = [self._remember(train, COUNTS[-1])]
        success, cost = self._parts[0]
        self._success_count = COUNTS[
            int(
                np.argmin(
                    [squared_error(p, validation) for p in success.means(validation.embeddings, COUNTS)]
                )
            )
        ]
        self._cost_count = COUNTS[
            int(np.argmin([cost_error(c, validation) for c in cost.means(validation.embeddings, COUNTS)]))
        ]

    def _learn_models(self, seen: Table) -> None:
        self._parts.append(self._remember(seen, COUNTS[-1]))

    def _remember(self, table: Table, most: int) -> tuple[Neighbours, Neighbours]:
        mean_costs = self._mean_costs[-len(table.models) :]
        return (
            Neighbours(table.embeddings, table.scores, mean_scores(table), most, cosine=False),
            Neighbours(table.embeddings, table.costs, mean_costs, most, cosine=False),
        )

    def _both(self, embeddings: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        success = [part.means(embeddings, [self._success_count])[0] for part, _ in self._parts]
        cost = [part.means(embeddings, [self._cost_count])[0] for _, part in self._parts]
        return np.concatenate(success, axis=1), np.concatenate(cost, axis=1)


class CarrotLinear(Carrot):
    """Ridge regressions, whose two penalties are chosen on the validation prompts; a new model gets its own."""

    name = "carrot-linear"
    takes_new_models = True

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        del seed
        x, judged = train.embeddings, validation.embeddings
        self._success_fits = RidgeRegressions(
            x, train.scores, mean_scores(train), judged, lambda success: squared_error(success, validation)
        )
        self._cost_fits = RidgeRegressions(
            x, train.costs, self._mean_costs, judged, lambda cost: cost_error(cost, validation)
        )

    def _learn_models(self, seen: Table) -> None:
        self._success_fits.add(seen.embeddings, seen.scores, mean_scores(seen))
        self._cost_fits.add(seen.embeddings, seen.costs, self._mean_costs[-len(seen.models) :])

    def _both(self, embeddings: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._success_fits.predict(embeddings), self._cost_fits.predict(embeddings)


def cost_error(cost: NDArray[np.float64], table: Table) -> float:
    """Mean squared error of predicted costs (P, M), where both are known; infinite where that is nowhere."""
    known = ~np.isnan(table.costs) & ~np.isnan(cost)
    return float(np.mean((cost[known] - table.costs[known]) ** 2)) if known.any() else float("inf")
