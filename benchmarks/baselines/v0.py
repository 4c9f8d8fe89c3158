"""V0 as a router: each model is the context of its outcomes, and nothing is fitted to the table.

Two readings of the paper's β (arXiv 2602.03584): success and cost apart, combined when deciding; or contexts whose
labels are r_β = β·r + (1 − β)·(1 − c̃), of which the highest value is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from benchmarks.baselines.base import Baseline, Prediction, cheapest_best

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.baselines.base import Indices, Queries, Table
    from router.value.amounts import Amounts
    from router.value.heads.contexts import IclContext
    from router.value.model import V0

TEXTS = 32  # embedded in one go
COST_ROWS = 512  # whose costs are foretold in one go
WORK = 12_000_000  # models × context rows × queries in one go: bounds the memory of attention


@dataclass(frozen=True)
class History:
    """The outcomes that make one model's context."""

    embeddings: NDArray[np.float32]  # (N, V0.dim)
    scores: NDArray[np.float32]  # (N,)
    costs: NDArray[np.float64]  # (N,), NaN where unknown


class V0Router(Baseline):
    """
    Up to `context_size` outcomes of each model, drawn at random: 256 in the paper.

    The draw is of prompts, so that models which answered the same prompts are compared on the same ones.
    """

    takes_new_models = True
    has_prior = True  # an empty context has a value too

    def __init__(
        self, context_size: int | None = 1024, value_model: V0 | None = None, weights: Path | None = None
    ) -> None:
        """`context_size` None takes all outcomes. Without a `value_model`, `weights` or the shipped are loaded."""
        self.name = f"v0-{context_size or 'all'}"
        self._context_size = context_size
        self._given = value_model
        self._value_weights = weights

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        del validation
        if self._given is None:
            from router.value.model import V0

            self._given = V0.load(self._value_weights)
        self._value_model = self._given
        self._seed = seed
        self._histories: list[History] = []
        self._contexts: list[IclContext] = []
        self._costs: list[Amounts | None] = []
        self._founders = 0  # models that were read together
        self._learn_models(train)

    def _learn_models(self, seen: Table) -> None:
        embeddings = self._embeddings(seen)
        order = np.random.default_rng(self._seed).permutation(len(seen.texts))
        for column in range(len(seen.models)):
            observed = order[~np.isnan(seen.scores[order, column])]
            rows = np.sort(observed[: self._context_size])
            history = History(embeddings[rows], seen.scores[rows, column], seen.costs[rows, column])
            self._histories.append(history)
        self._read()

    def _read(self) -> None:
        """Make the contexts: of the fleet together, of models that come later beside it."""
        from router.value.amounts import fit_amounts

        self._founders = self._founders or len(self._histories)
        self._contexts = self._fit([history.scores for history in self._histories])
        self._costs = fit_amounts(
            self._value_model, [(each.embeddings, each.costs) for each in self._histories]
        )

    def _fit(self, labels: Sequence[NDArray[np.floating]]) -> list[IclContext]:
        pairs = [(each.embeddings, of) for each, of in zip(self._histories, labels, strict=True)]
        contexts = self._value_model.fit_fleet(pairs[: self._founders])
        for pair in pairs[self._founders :]:
            contexts.append(self._value_model.fit_context(*pair, beside=contexts[0]))
        return contexts

    def _embeddings(self, prompts: Table | Queries) -> NDArray[np.float32]:
        """What V0 sees: (P, dim), computed where it is not given."""
        if prompts.value_embeddings is not None:
            return prompts.value_embeddings
        texts = prompts.texts
        parts = [
            self._value_model.embed(texts[start : start + TEXTS]) for start in range(0, len(texts), TEXTS)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self._value_model.dim), dtype=np.float32)

    def _values(self, embeddings: NDArray[np.float32], contexts: Sequence[IclContext]) -> NDArray[np.float64]:
        """(P, M), in as many passes as the memory asks for."""
        longest = max(1, *(context.foretold.shape[1] for context in contexts))
        step = max(1, WORK // (len(contexts) * longest))
        parts = [
            self._value_model.value(embeddings[start : start + step], contexts)
            for start in range(0, len(embeddings), step)
        ]
        values = np.concatenate(parts) if parts else np.zeros((0, len(contexts)), dtype=np.float32)
        return values.astype(np.float64)

    def predict(self, queries: Queries) -> Prediction:
        """Success and cost of every model on every prompt; the mean cost where too few are known."""
        from router.value.amounts import expected_amounts

        if not self._costs:  # a head that reads no amounts
            return super().predict(queries)
        embeddings = self._embeddings(queries)
        success = self._values(embeddings, self._contexts)
        usual = self.expected_costs()
        steps = range(0, len(embeddings), COST_ROWS)
        parts = [
            expected_amounts(self._value_model, embeddings[start : start + COST_ROWS], self._costs)
            for start in steps
        ]
        cost = np.concatenate(parts) if parts else np.zeros((0, len(usual)))
        return Prediction(self._completed(success), np.where(np.isnan(cost), usual, cost))

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        return self._values(self._embeddings(queries), self._contexts)


@dataclass(frozen=True, kw_only=True)
class WeighedPrediction(Prediction):
    """A prediction of success with the way to values of r_β, which are computed when a β is asked for, once."""

    columns: NDArray[np.intp]  # (M,) among all models of the router
    values: Callable[[float, float], NDArray[np.float64]]  # (β, cost scale) → (P, all models)
    kept: dict[tuple[float, float], NDArray[np.float64]] = field(default_factory=dict)

    def take(self, models: Indices) -> Self:
        """The prediction for a fleet of some of the models, in the order asked for."""
        columns = np.asarray(models, dtype=np.intp)
        return replace(super().take(columns), columns=self.columns[columns])

    def of(self, beta: float, cost_scale: float) -> NDArray[np.float64]:
        """Values of r_β: (P, M)."""
        key = (beta, cost_scale)
        if key not in self.kept:
            self.kept[key] = self.values(beta, cost_scale)
        return self.kept[key][:, self.columns]


class V0Weighted(V0Router):
    """
    The other reading: success and cost in one label. Every β needs contexts of its own, which makes a sweep over β
    as many times as slow.
    """

    def __init__(
        self, context_size: int | None = 1024, value_model: V0 | None = None, weights: Path | None = None
    ) -> None:
        super().__init__(context_size, value_model, weights)
        self.name += "-weighted"

    def predict(self, queries: Queries) -> WeighedPrediction:
        """Success is that of β = 1."""
        embeddings = self._embeddings(queries)
        success = self._values(embeddings, self._contexts)
        histories = tuple(self._histories)

        def values(beta: float, cost_scale: float) -> NDArray[np.float64]:
            return self._values(
                embeddings, self._fit([_weighted(each, beta, cost_scale) for each in histories])
            )

        return WeighedPrediction(
            success, self.expected_costs(), columns=np.arange(len(histories)), values=values
        )

    def route(self, prediction: Prediction, beta: float, cost_scale: float) -> NDArray[np.intp]:
        """Argmax of the value of r_β."""
        if beta == 1 or not isinstance(prediction, WeighedPrediction):
            return super().route(prediction, beta, cost_scale)
        return cheapest_best(prediction.of(beta, cost_scale), prediction.cost)


def _weighted(history: History, beta: float, cost_scale: float) -> NDArray[np.float32]:
    from router.contexts import cost_weighted_labels

    return np.clip(cost_weighted_labels(history.scores, history.costs, beta, cost_scale), 0.0, 1.0)
