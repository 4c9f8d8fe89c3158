"""Every figure of one router on one fleet under one seed, each with its bootstrap redraws.

P test prompts by M models of the fleet by K operating points by R rows of weights. Row 0 of the weights is all ones:
figure[0] is what was measured, figure[1:] are the redraws of its interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import frontier, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """What really happened on prompts that have an outcome of every model of the fleet."""

    scores: Floats  # (P, M)
    costs: Floats  # (P, M)
    weights: Floats  # (R, P)
    cost_scale: float

    @cached_property
    def single_accuracy(self) -> Floats:
        """Each single model's accuracy: (M, R)."""
        return metrics.weighted_mean(self.scores.T, self.weights)

    @cached_property
    def single_cost(self) -> Floats:
        """Each single model's mean cost: (M, R)."""
        return metrics.weighted_mean(self.costs.T, self.weights)

    @property
    def cost_range(self) -> tuple[float, float]:
        """From the cheapest to the dearest single model, mean cost of a prompt; redraws do not move it."""
        return float(self.single_cost[:, 0].min()), float(self.single_cost[:, 0].max())


@dataclass(frozen=True)
class Curve:
    """A router's operating points on the test prompts."""

    accuracy: Floats  # (K, R)
    cost: Floats  # (K, R)
    share: Floats  # (K, M)
    regret: Floats | None  # (K, R); None where the points belong to no β


@dataclass(frozen=True)
class Validated:
    """A curve on the validation prompts, where operating points are chosen: (K,) each."""

    accuracy: Floats
    cost: Floats


@dataclass(frozen=True)
class Bar:
    """What a router is held against: the best single model and the oracle, redrawn alike."""

    accuracy: Floats  # (R,) of the best single model, chosen on validation
    cost: Floats  # (R,)
    validation_accuracy: float
    oracle: Floats  # (R,)


def curve(truth: Truth, choices: NDArray[np.integer], betas: Sequence[float] | None) -> Curve:
    """The curve of some decisions: choices (K, P) of columns of the fleet, one row for each β."""
    models = truth.scores.shape[1]
    given_away = (
        None
        if betas is None
        else np.stack(
            [
                metrics.regret(truth.scores, truth.costs, chosen, beta, truth.cost_scale)
                for chosen, beta in zip(choices, betas, strict=True)
            ]
        )
    )
    return Curve(
        accuracy=metrics.weighted_mean(metrics.picked(truth.scores, choices), truth.weights),
        cost=metrics.weighted_mean(metrics.picked(truth.costs, choices), truth.weights),
        share=np.stack([metrics.shares(chosen, models) for chosen in choices]),
        regret=None if given_away is None else metrics.weighted_mean(given_away, truth.weights),
    )


def area(points: Curve, cost_range: tuple[float, float]) -> Mapping[str, Floats]:
    """AIQ and hypervolume: (R,) each."""
    low, high = cost_range
    return {
        "aiq": _redrawn(points, lambda cost, accuracy: frontier.aiq(cost, accuracy, low, high)),
        "hypervolume": _redrawn(
            points, lambda cost, accuracy: frontier.hypervolume(cost, accuracy, low, high)
        ),
    }


def against(points: Curve, bar: Bar, validated: Validated | None) -> Mapping[str, Floats]:
    """
    PerfGain, CostSave and the share of the gap closed, at operating points chosen on validation: (R,) each.

    Without validation prompts it is the last point. CostSave is NaN where no point is as good as the best single
    model there; `cost_save_accuracy` says what became of that on the test prompts.
    """
    best, saving = len(points.accuracy) - 1, None
    if validated is not None:
        best = frontier.most_accurate(validated.cost, validated.accuracy)
        saving = frontier.cheapest_as_good(validated.cost, validated.accuracy, bar.validation_accuracy)
    accuracy = points.accuracy[best]
    none = np.full(len(accuracy), np.nan)
    rows = range(len(accuracy))
    return {
        "perf_gain": np.array([frontier.perf_gain(accuracy[r], bar.accuracy[r]) for r in rows]),
        "gap_closed": np.array(
            [metrics.gap_closed(accuracy[r], bar.accuracy[r], bar.oracle[r]) for r in rows]
        ),
        "cost_save": none
        if saving is None
        else np.array([frontier.cost_save(points.cost[saving, r], bar.cost[r]) for r in rows]),
        "cost_save_accuracy": none if saving is None else points.accuracy[saving] - bar.accuracy,
    }


def peak(points: Curve, bar: Bar) -> tuple[float, float]:
    """PerfGain and CostSave as published: at the best operating points on the test prompts themselves."""
    accuracy, cost = points.accuracy[:, 0], points.cost[:, 0]
    saving = frontier.cheapest_as_good(cost, accuracy, float(bar.accuracy[0]))
    return (
        frontier.perf_gain(float(accuracy.max()), float(bar.accuracy[0])),
        float("nan") if saving is None else frontier.cost_save(float(cost[saving]), float(bar.cost[0])),
    )


def last_point(truth: Truth, choices: NDArray[np.integer], points: Curve) -> Mapping[str, Floats]:
    """Accuracy, cost, mean regret over β, and recall on the prompts that few models solve: (R,) each."""
    rare = metrics.few_solve(truth.scores)
    found = (metrics.picked(truth.scores, choices[-1])[rare] >= metrics.SUCCESS).astype(np.float64)
    weights = truth.weights[:, rare]
    total = weights.sum(axis=1)
    recall = np.divide(weights @ found, total, out=np.full(len(total), np.nan), where=total > 0)
    figures = {"accuracy": points.accuracy[-1], "cost": points.cost[-1], "model_recall": recall}
    return figures if points.regret is None else {**figures, "regret": points.regret.mean(axis=0)}


def distances(curves: Mapping[str, Curve], singles: Curve) -> Mapping[str, Floats]:
    """ParetoDist of each curve to the frontier that they and the single models have together: (R,) each."""
    result = {name: np.empty(points.accuracy.shape[1]) for name, points in curves.items()}
    for r in range(singles.accuracy.shape[1]):
        every = [(points.cost[:, r], points.accuracy[:, r]) for points in (*curves.values(), singles)]
        together, spans = frontier.joint(every)
        for name, points in curves.items():
            result[name][r] = frontier.pareto_distance(
                together, spans, points.cost[:, r], points.accuracy[:, r]
            )
    return result


def _redrawn(points: Curve, figure: Callable[[Floats, Floats], float]) -> Floats:
    """A figure of the curve for each row of weights: (R,)."""
    cost, accuracy = points.cost.T, points.accuracy.T
    return np.array([figure(cost[r], accuracy[r]) for r in range(len(cost))])
