"""What another policy would have earned on logged traffic, from the probabilities that the log recorded.

N requests, M models. With w = π(a|x) / p(a|x) of the model a that answered, p the logging probability:

- inverse propensity (Horvitz and Thompson 1952): mean of w·r;
- self-normalised (Swaminathan and Joachims 2015): Σ w·r / Σ w;
- doubly robust (Dudík et al. 2011): mean of Σ_a π(a|x)·q(x, a) + w·(r − q(x, a)), q a prediction made beforehand.

Where the target wants a model that the log could not have chosen, no estimate is right: it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.outcomes import Exclusion

MOST_UNSUPPORTED = 0.01  # share of the target's choices that the log could not have made
LEAST_EFFECTIVE = 10.0  # effective rows below which an interval says nothing
RESAMPLES = 1000
CONFIDENCE = 0.95


class NoSupport(ValueError):  # noqa: N818
    """The log cannot say anything about this policy; the message says why."""


@dataclass(frozen=True)
class Log:
    """Decisions with an outcome. `propensities` sum to 1 in each row; 0 says: could not have been chosen."""

    models: tuple[str, ...]
    chosen: NDArray[np.intp]  # (N,)
    propensities: NDArray[np.float64]  # (N, M)
    values: NDArray[np.float64]  # (N, M) predicted success, NaN where the model was out
    expected_costs: NDArray[np.float64]  # (N, M) USD, known before; NaN where the model was out
    scores: NDArray[np.float64]  # (N,) in [0, 1]
    costs: NDArray[np.float64]  # (N,) USD, NaN where not recorded
    exclusions: tuple[Exclusion, ...] = ()


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its bootstrap 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """Three estimates of one policy's mean reward. `unsupported` is the share of its choices not covered."""

    inverse_propensity: Interval
    self_normalised: Interval
    doubly_robust: Interval
    effective_rows: float  # (Σ w)² / Σ w²
    rows: int
    unsupported: float


@dataclass(frozen=True)
class PolicyEstimate:
    """One policy on the log: its estimates of success and cost (USD a request), or why they are refused."""

    policy: str
    success: Estimate | None
    cost: Estimate | None
    refused: str | None = None


def estimate(
    log: Log,
    target: NDArray[np.float64],
    rewards: NDArray[np.float64],
    predicted: NDArray[np.float64],
    seed: int = 0,
) -> Estimate:
    """
    The mean reward of a policy `target` (N, M), each row a distribution over the models.

    `rewards` (N,) are of the models that answered, `predicted` (N, M) the predictions q; where q is NaN, the
    model's mean reward in the log stands in. Rows without a reward are left out. Raises `NoSupport`.
    """
    rows = np.flatnonzero(~np.isnan(rewards))
    if not len(rows):
        raise NoSupport("no decision in the log has this outcome")
    target, rewards, chosen = target[rows], rewards[rows], log.chosen[rows]
    if not np.allclose(target.sum(axis=1), 1) or (target < 0).any():
        raise ValueError("each row of the target policy must be a distribution over the models")
    propensities = log.propensities[rows]
    unsupported = float(np.where(propensities > 0, 0.0, target).sum(axis=1).mean())
    if unsupported > MOST_UNSUPPORTED:
        raise NoSupport(
            f"on {unsupported:.0%} of the requests it picks a model that the log could not have chosen; "
            "let the gateway explore to learn about it"
        )
    at = np.arange(len(rows))
    weights = target[at, chosen] / propensities[at, chosen]
    squares = float((weights**2).sum())
    effective = float(weights.sum()) ** 2 / squares if squares else 0.0
    if effective < LEAST_EFFECTIVE:
        raise NoSupport(
            f"only {effective:.1f} effective rows of {len(rows)} agree with it; {LEAST_EFFECTIVE:g} are needed"
        )
    q = _filled(predicted[rows], chosen, rewards, len(log.models))
    direct = (target * q).sum(axis=1)
    robust = direct + weights * (rewards - q[at, chosen])
    importance, self_normalised, doubly_robust = _intervals(weights, weights * rewards, robust, seed)
    return Estimate(
        inverse_propensity=importance,
        self_normalised=self_normalised,
        doubly_robust=doubly_robust,
        effective_rows=effective,
        rows=len(rows),
        unsupported=unsupported,
    )


def always(log: Log, model: str) -> NDArray[np.float64]:
    """The policy that asks one model whatever comes: (N, M)."""
    target = np.zeros(log.propensities.shape)
    target[:, log.models.index(model)] = 1
    return target


def greedy(log: Log, beta: float) -> NDArray[np.float64]:
    """
    The policy argmax β·value + (1−β)·(1−c̃) over the predictions in the log: (N, M).

    c̃ = min(1, expected cost / the largest mean expected cost of a model), as in the gateway.
    """
    known = ~np.isnan(log.expected_costs)
    totals = np.where(known, log.expected_costs, 0).sum(axis=0)
    scale = float((totals / np.maximum(known.sum(axis=0), 1)).max())
    relative = np.minimum(1, log.expected_costs / scale) if scale > 0 else np.zeros(log.values.shape)
    score = beta * log.values + (1 - beta) * (1 - relative)
    score = np.where(np.isnan(score), -np.inf, score)
    target = np.zeros(score.shape)
    target[np.arange(len(score)), score.argmax(axis=1)] = 1
    return target


def evaluate(log: Log, betas: Sequence[float], seed: int = 0) -> list[PolicyEstimate]:
    """The logging policy itself, V0 at each β, and each model always: success and cost, or a refusal."""
    policies = [
        ("as logged", log.propensities),
        *((f"V0 at β={beta:g}", greedy(log, beta)) for beta in betas),
        *((f"always {model}", always(log, model)) for model in log.models),
    ]
    return [_evaluate(name, log, target, seed) for name, target in policies]


def _evaluate(name: str, log: Log, target: NDArray[np.float64], seed: int) -> PolicyEstimate:
    try:
        success = estimate(log, target, log.scores, log.values, seed)
    except NoSupport as reason:
        return PolicyEstimate(name, None, None, str(reason))
    try:
        cost = estimate(log, target, log.costs, log.expected_costs, seed)
    except NoSupport as reason:
        return PolicyEstimate(name, success, None, f"cost: {reason}")
    return PolicyEstimate(name, success, cost)


def _filled(
    predicted: NDArray[np.float64], chosen: NDArray[np.intp], rewards: NDArray[np.float64], models: int
) -> NDArray[np.float64]:
    counts = np.bincount(chosen, minlength=models)
    means = np.bincount(chosen, weights=rewards, minlength=models) / np.maximum(counts, 1)
    means = np.where(counts > 0, means, rewards.mean())
    return np.where(np.isnan(predicted), means[None, :], predicted)


def _intervals(
    weights: NDArray[np.float64], weighted: NDArray[np.float64], robust: NDArray[np.float64], seed: int
) -> list[Interval]:
    """The three means, each with its interval over the same resampled rows."""

    def means(rows: NDArray[np.int64] | slice) -> list[float]:
        total = max(float(weights[rows].sum()), 1e-12)
        return [
            float(weighted[rows].mean()),
            float(weighted[rows].sum()) / total,
            float(robust[rows].mean()),
        ]

    rng, rows = np.random.default_rng(seed), len(weights)
    drawn = np.array([means(rng.integers(0, rows, rows)) for _ in range(RESAMPLES)])
    ends = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return [
        Interval(mean, float(low), float(high))
        for mean, low, high in zip(means(slice(None)), *ends, strict=True)
    ]
