"""What a router is here: it learns from a table of outcomes, predicts success and cost, and chooses.

P prompts by M models by D embedding dimensions. A pair that was not observed is NaN. A router sees the scores of
training and validation prompts only: `Queries` has none. What sees test scores is in `oracle`, and is no router.
Every router by its name is in `registry`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.outcomes import ModelFacts, Outcomes

    Indices = Sequence[int] | NDArray[np.intp]

TIE = 1e-7  # scores closer than this are equal, and the cheaper model is taken


@dataclass(frozen=True)
class Queries:
    """What is known of prompts before an answer exists. `datasets` is for references: no learned router reads it."""

    embeddings: NDArray[np.float32]  # (P, D), frozen, the same for every router
    texts: list[str]
    datasets: list[str]
    value_embeddings: NDArray[np.float32] | None = None  # (P, V0.dim), what V0 sees; None: V0 computes it

    @classmethod
    def of(
        cls,
        outcomes: Outcomes,
        embeddings: NDArray[np.float32],
        value_embeddings: NDArray[np.float32] | None = None,
    ) -> Queries:
        """The prompts of some outcomes, without the outcomes."""
        return cls(embeddings, outcomes.texts, outcomes.datasets, value_embeddings)


@dataclass(frozen=True)
class Table:
    """Prompts with their outcomes: all that a router may learn from."""

    embeddings: NDArray[np.float32]  # (P, D)
    texts: list[str]
    datasets: list[str]
    scores: NDArray[np.float32]  # (P, M) in [0, 1]
    costs: NDArray[np.float64]  # (P, M), realised
    models: tuple[ModelFacts, ...]
    value_embeddings: NDArray[np.float32] | None = None  # (P, V0.dim)

    @classmethod
    def of(
        cls,
        outcomes: Outcomes,
        embeddings: NDArray[np.float32],
        value_embeddings: NDArray[np.float32] | None = None,
    ) -> Table:
        """Some outcomes (`Outcomes.take` restricts them) and the embeddings of exactly their prompts."""
        return cls(
            embeddings,
            outcomes.texts,
            outcomes.datasets,
            outcomes.scores,
            outcomes.costs,
            outcomes.models,
            value_embeddings,
        )

    @property
    def observed(self) -> NDArray[np.bool_]:
        """Pairs with a score: (P, M)."""
        return ~np.isnan(self.scores)

    @property
    def queries(self) -> Queries:
        """The prompts without their outcomes."""
        return Queries(self.embeddings, self.texts, self.datasets, self.value_embeddings)

    def take(self, prompts: Indices | None = None, models: Indices | None = None) -> Table:
        """The table restricted to some prompts and some models, in the order asked for."""
        rows = np.arange(len(self.texts)) if prompts is None else np.asarray(prompts, dtype=np.intp)
        columns = np.arange(len(self.models)) if models is None else np.asarray(models, dtype=np.intp)
        value_embeddings = self.value_embeddings
        return Table(
            self.embeddings[rows],
            [self.texts[row] for row in rows],
            [self.datasets[row] for row in rows],
            self.scores[np.ix_(rows, columns)],
            self.costs[np.ix_(rows, columns)],
            tuple(self.models[column] for column in columns),
            None if value_embeddings is None else value_embeddings[rows],
        )


@dataclass(frozen=True)
class Prediction:
    """
    What a router expects, before generation, of every model on every prompt.

    The columns are the models of `fit`, then those of each `add_models`, in order.
    """

    success: NDArray[np.float64]  # (P, M) in [0, 1]
    cost: NDArray[
        np.float64
    ]  # (M,), or (P, M) where it is predicted per prompt; in the unit of the table's costs
    preference: NDArray[np.float64] | None = None  # (P, M): highest is chosen at any β; for references alone

    def take(self, models: Indices) -> Self:
        """The prediction for a fleet of some of the models, in the order asked for."""
        columns = np.asarray(models, dtype=np.intp)
        return replace(
            self,
            success=self.success[:, columns],
            cost=self.cost[..., columns],
            preference=None if self.preference is None else self.preference[:, columns],
        )


class Router(Protocol):
    """One way to route. The same tables and seed give the same router."""

    name: str
    learns: bool  # False for references, which do not look at the prompt
    takes_new_models: bool  # False: a new model means fitting again

    def fit(self, train: Table, validation: Table, seed: int) -> None:
        """Learn from `train`; choose hyperparameters on `validation`, which has the same models."""
        ...

    def add_models(self, seen: Table) -> None:
        """
        Take in models that `fit` did not see, from the columns of `seen`; TypeError unless `takes_new_models`.

        A model may come without any outcome, `seen` even without a row: on each prompt it is then taken to do as the
        models of `fit` do on average, unless the router has a prior of its own, and to cost half of the dearest.
        """
        ...

    def predict(self, queries: Queries) -> Prediction:
        """Expected success and cost of every known model."""
        ...

    def route(self, prediction: Prediction, beta: float, cost_scale: float) -> NDArray[np.intp]:
        """The chosen column of `prediction` for each prompt: (P,)."""
        ...


class Baseline(ABC):
    """The part that routers share: expected costs, clean predictions, and the rule of V0."""

    name: str
    learns = True
    takes_new_models = False
    has_prior = False  # True: `_success` itself answers for models of which no outcome was seen

    def fit(self, train: Table, validation: Table, seed: int) -> None:
        """Learn, and note what each model costs on average in training."""
        self._mean_costs = mean_costs(train)
        self._unseen: NDArray[np.bool_] = np.zeros(len(train.models), dtype=np.bool_)
        self._trained_models = len(train.models)
        self._learn(train, validation, seed)

    def add_models(self, seen: Table) -> None:
        """Take in new models, from the columns of `seen`, be there outcomes or not."""
        if not self.takes_new_models:
            raise TypeError(f"{self.name} takes no new model without being fitted again")
        self._mean_costs = np.concatenate([self._mean_costs, mean_costs(seen)])
        self._unseen = np.concatenate([self._unseen, ~seen.observed.any(axis=0)])
        self._learn_models(seen)

    def predict(self, queries: Queries) -> Prediction:
        """Expected success, and the mean training cost of each model."""
        return Prediction(self._completed(self._success(queries)), self.expected_costs())

    def route(self, prediction: Prediction, beta: float, cost_scale: float) -> NDArray[np.intp]:
        """Argmax of β·success + (1−β)·(1−c̃), or of the preference of a reference that has one."""
        if prediction.preference is not None:
            return cheapest_best(prediction.preference, prediction.cost)
        return cheapest_best(cost_weighted(prediction, beta, cost_scale), prediction.cost)

    def expected_costs(self) -> NDArray[np.float64]:
        """Mean training cost of each model, half the largest where none was observed: (M,)."""
        known = self._mean_costs[~np.isnan(self._mean_costs)]
        return np.where(np.isnan(self._mean_costs), known.max() / 2 if len(known) else 0.0, self._mean_costs)

    def _completed(self, success: NDArray[np.floating]) -> NDArray[np.float64]:
        """Clipped to [0, 1]; a new model without outcomes does as the models of `fit` do on average: (P, M)."""
        whole = np.clip(success, 0.0, 1.0).astype(np.float64)
        if not self.has_prior:
            whole[:, self._unseen] = whole[:, : self._trained_models].mean(axis=1, keepdims=True)
        return whole

    @abstractmethod
    def _learn(self, train: Table, validation: Table, seed: int) -> None: ...

    def _learn_models(self, seen: Table) -> None:  # noqa: B027 (only called where new models are taken)
        """Take in new models; overridden by every router that can."""

    @abstractmethod
    def _success(self, queries: Queries) -> NDArray[np.floating]:
        """(P, M), clipped to [0, 1] by the caller."""


def normalised_costs(cost: NDArray[np.float64], cost_scale: float) -> NDArray[np.float64]:
    """c̃ = min(1, cost / scale); all 0 where nothing costs anything (a scale of 0)."""
    return np.clip(cost / cost_scale, 0.0, 1.0) if cost_scale > 0 else np.zeros_like(cost)


def cost_weighted(prediction: Prediction, beta: float, cost_scale: float) -> NDArray[np.float64]:
    """β·success + (1−β)·(1−c̃): (P, M)."""
    return beta * prediction.success + (1 - beta) * (1 - normalised_costs(prediction.cost, cost_scale))


def cheapest_best(utility: NDArray[np.floating], cost: NDArray[np.float64]) -> NDArray[np.intp]:
    """The column of the highest utility in each row, the cheapest of equals, the first of equals in both: (P,)."""
    best = utility >= utility.max(axis=1, keepdims=True) - TIE
    return np.where(best, cost, np.inf).argmin(axis=1)


def mean_costs(table: Table) -> NDArray[np.float64]:
    """Mean realised cost of each model, NaN where none is known: (M,)."""
    known = np.isfinite(table.costs)
    totals = np.where(known, table.costs, 0.0).sum(axis=0)
    return np.divide(
        totals, known.sum(axis=0), out=np.full(len(table.models), np.nan), where=known.any(axis=0)
    )


def cost_scale(train: Table) -> float:
    """The largest of the models' mean training costs, the unit in which costs count in a decision; 0 if unknown."""
    known = mean_costs(train)
    return float(np.nanmax(known)) if np.isfinite(known).any() else 0.0


def mean_scores(table: Table) -> NDArray[np.float64]:
    """Mean score of each model; the mean of all where a model has none, one half where there is none at all: (M,)."""
    observed = table.observed
    totals = np.where(observed, table.scores, 0.0).sum(axis=0, dtype=np.float64)
    counts = observed.sum(axis=0)
    overall = float(totals.sum() / counts.sum()) if counts.sum() else 0.5
    return np.divide(totals, counts, out=np.full(len(counts), overall), where=counts > 0)


def squared_error(success: NDArray[np.floating], table: Table) -> float:
    """Mean (success − score)² over the observed pairs: what hyperparameters are chosen by. Infinite without pairs."""
    observed = table.observed
    if not observed.any():
        return float("inf")
    return float(np.mean((success[observed] - table.scores[observed]) ** 2))
