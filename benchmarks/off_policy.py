"""What another policy would have earned on logged traffic, from the probabilities that the log recorded.

N requests, M models. With w = π(a|x) / p(a|x) of the model a that was drawn, p the logging probability:

- inverse propensity (Horvitz and Thompson 1952): mean of w·r;
- self-normalised (Swaminathan and Joachims 2015): Σ w·r / Σ w;
- doubly robust (Dudík et al. 2011): mean of Σ_a π(a|x)·q(x, a) + w·(r − q(x, a)), q a prediction made beforehand.

Each is the last with another q: 0, the estimate itself, V0's value. Where the target wants a model that the log could
not have chosen, or could only so rarely that nothing was learnt of it, no estimate is right: it is refused.

Where the drawn model failed and another answered, the answer is what came of the draw. If any of several may have been
drawn, w is π over p of all of them together, and q their mean under π.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.outcomes import Exclusion

    Floats = NDArray[np.float64]

MOST_UNSUPPORTED = 0.01  # share of the requests on which the log could not have done what the target does
LEAST_EFFECTIVE = 20.0  # effective rows below which an interval says nothing
NORMAL = 1.959964  # of a 95% interval
ASSUMED_ROWS = 4.0  # beside those that were seen, at the largest variance of a score (Agresti and Coull 1998)
SCORE_VARIANCE = 0.25
V0_AT, ALWAYS = "V0 at β=", "always "  # how policies are called
TIE = 1e-12  # scores closer than this are equal, and the cheaper model is taken


class NoSupport(ValueError):  # noqa: N818
    """The log cannot say anything about this policy; the message says why."""


@dataclass(frozen=True)
class Log:
    """Decisions with an outcome. `propensities` sum to 1 in each row; 0 says: could not have been chosen."""

    models: tuple[str, ...]
    chosen: NDArray[np.intp]  # (N,)
    first: NDArray[np.intp]  # (N,) the best by the gateway's own score: chosen, but for exploration
    propensities: Floats  # (N, M)
    candidates: NDArray[np.bool_]  # (N, M): in the fleet then, and able
    drawn: NDArray[np.bool_]  # (N, M): the chosen or, where others failed before it, those
    values: Floats  # (N, M) predicted success, NaN where there is none
    expected_costs: Floats  # (N, M) USD, known before; NaN where the model was no candidate
    cost_scales: Floats  # (N,) USD, the unit of c̃ in that decision; NaN where it cannot be told
    scores: Floats  # (N,) in [0, 1]
    costs: Floats  # (N,) USD, NaN where not recorded
    exclusions: tuple[Exclusion, ...] = ()

    @property
    def exploration(self) -> float:
        """Share of the requests that go to a candidate drawn at random, by their propensities."""
        several = self.candidates.sum(axis=1) > 1
        least = np.where(self.candidates, self.propensities, 1.0).min(axis=1)
        return float(np.mean(np.where(several, least * self.candidates.sum(axis=1), 0.0)))


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95% interval, which may lie outside what a mean can be."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """Three estimates of one policy's mean reward."""

    inverse_propensity: Interval
    self_normalised: Interval
    doubly_robust: Interval
    effective_rows: float  # N² / Σ_x Σ_a π² / p: so many rows of the policy's own would say as much
    drawn_rows: float  # (Σ w)² / Σ w², Kish's effective size of what was drawn
    rows: int
    unsupported: float  # share of the requests, left out because the log could not have done the same


@dataclass(frozen=True)
class PolicyEstimate:
    """One policy on the log: its estimates of success and cost (USD a request), or why they are refused."""

    policy: str
    success: Estimate | None
    cost: Estimate | None
    refused: str | None = None


def estimate(
    log: Log, target: Floats, rewards: Floats, predicted: Floats, worst_variance: float = 0.0
) -> Estimate:
    """
    The mean reward of a policy `target` (N, M), each row a distribution over the models, or NaN: not known there.

    `rewards` (N,) are of the models that answered, `predicted` (N, M) the predictions q; where q is NaN, the
    model's mean reward in the log stands in. Rows without a reward are left out. `worst_variance` is that of a
    reward of which nothing else is known. Raises `NoSupport`.
    """
    seen = np.flatnonzero(~np.isnan(rewards))
    if not len(seen):
        raise NoSupport("no decision in the log has it")
    _check(target)
    supported, unsupported = _supported(log, target, seen)
    rows = seen[supported]
    target, rewards, chosen, chances = target[rows], rewards[rows], log.chosen[rows], log.propensities[rows]
    squares = np.divide(target**2, chances, out=np.zeros_like(target), where=chances > 0).sum(axis=1)
    effective = len(rows) ** 2 / float(squares.sum())
    drawn = log.drawn[rows]
    wanted = np.where(drawn, target, 0)
    weights = wanted.sum(axis=1) / np.where(drawn, chances, 0).sum(axis=1)
    total = float(weights.sum())
    if effective < LEAST_EFFECTIVE or not total:
        enough = math.ceil(len(rows) * LEAST_EFFECTIVE / effective)
        raise NoSupport(
            f"too little was explored of what it wants ({effective:.1f} effective rows of {len(rows):,}, "
            f"{LEAST_EFFECTIVE:g} are needed: about {enough:,} requests like these)"
        )
    q = _filled(predicted[rows], chosen, rewards, len(log.models))
    of_drawn = np.where(weights > 0, (wanted * q).sum(axis=1) / np.maximum(wanted.sum(axis=1), TIE), 0.0)
    normalised = float((weights * rewards).sum()) / total

    def interval(direct: Floats, residuals: Floats, mean: float | None = None) -> Interval:
        terms = direct + weights * residuals
        middle = float(terms.mean()) if mean is None else mean
        margin = NORMAL * _standard_error(direct, weights, residuals, float(squares.mean()), worst_variance)
        return Interval(middle, middle - margin, middle + margin)

    nothing = np.zeros(len(rows))
    return Estimate(
        inverse_propensity=interval(nothing, rewards),
        self_normalised=interval(nothing, rewards - normalised, normalised),
        doubly_robust=interval((target * q).sum(axis=1), rewards - of_drawn),
        effective_rows=effective,
        drawn_rows=total**2 / float((weights**2).sum()),
        rows=len(rows),
        unsupported=unsupported,
    )


def always(log: Log, model: str) -> Floats:
    """The policy that asks one model whatever comes: (N, M)."""
    target = np.zeros(log.propensities.shape)
    target[:, log.models.index(model)] = 1
    return target


def unexplored(log: Log) -> Floats:
    """What the log did, without its exploration: (N, M)."""
    return np.asarray(np.eye(len(log.models))[log.first])


def greedy(log: Log, beta: float) -> Floats:
    """
    What the gateway would have chosen at this β, from the values, costs and cost scale of each decision: (N, M).

    argmax β·value + (1−β)·(1−c̃), equals to the cheaper. A cost scale that cannot be told is the median of the
    others, failing them the largest mean expected cost of a model. NaN where a decision has no values of success.
    """
    costs = log.expected_costs
    known = log.cost_scales[~np.isnan(log.cost_scales)]
    usual = float(np.median(known)) if len(known) else float(_means(costs).max(initial=0.0))
    scales = np.where(np.isnan(log.cost_scales), usual, log.cost_scales)[:, None]
    relative = np.divide(costs, scales, out=np.zeros_like(costs), where=scales > 0)
    score = beta * log.values + (1 - beta) * (1 - np.minimum(1, relative))
    score = np.where(np.isnan(score), -np.inf, score)
    best = score >= score.max(axis=1, keepdims=True) - TIE
    chosen = np.where(best, costs, np.inf).argmin(axis=1)
    target = np.asarray(np.eye(len(log.models))[chosen])
    target[np.isneginf(score).all(axis=1)] = np.nan
    return target


def evaluate(log: Log, betas: Sequence[float]) -> list[PolicyEstimate]:
    """The logging policy, with and without exploring, V0 at each β, each model always: estimates, or a refusal."""
    policies = [
        ("as logged", log.propensities),
        ("without exploring", unexplored(log)),
        *((f"{V0_AT}{beta:g}", greedy(log, beta)) for beta in betas),
        *((f"{ALWAYS}{model}", always(log, model)) for model in log.models),
    ]
    return [_evaluate(name, log, target) for name, target in policies]


def _evaluate(name: str, log: Log, target: Floats) -> PolicyEstimate:
    try:
        success = estimate(log, target, log.scores, log.values, SCORE_VARIANCE)
    except NoSupport as reason:
        return PolicyEstimate(name, None, None, str(reason))
    try:
        cost = estimate(log, target, log.costs, log.expected_costs)
    except NoSupport as reason:
        return PolicyEstimate(name, success, None, f"its cost: {reason}")
    return PolicyEstimate(name, success, cost)


def _check(target: Floats) -> None:
    defined = target[~np.isnan(target).any(axis=1)]
    if not np.allclose(defined.sum(axis=1), 1) or (defined < 0).any():
        raise ValueError("each row of the target policy must be a distribution over the models")


def _supported(log: Log, target: Floats, rows: NDArray[np.intp]) -> tuple[NDArray[np.bool_], float]:
    """Which of some rows the log could have answered as the target does, and the share of the others."""
    wanted = target[rows] > 0
    unknown = np.isnan(target[rows]).any(axis=1)
    absent = (wanted & ~log.candidates[rows]).any(axis=1)
    impossible = (wanted & log.candidates[rows] & (log.propensities[rows] <= 0)).any(axis=1)
    missing = np.asarray(unknown | absent | impossible)
    share = float(missing.mean())
    if share > MOST_UNSUPPORTED:
        because = {
            "what it would choose is unknown, since the store has values of success and cost together": unknown,
            "what it wants was no candidate: not in the fleet then, or unable": absent,
            "what it wants could not have been chosen, since nothing was explored": impossible,
        }
        why = max(because, key=lambda each: int(because[each].sum()))
        raise NoSupport(f"{why} (on {share:.0%} of the requests)")
    return np.logical_not(missing), share


def _standard_error(
    direct: Floats, weights: Floats, residuals: Floats, needed: float, worst_variance: float
) -> float:
    """
    The larger of two: that of the rows as they were drawn, and that which the known propensities imply.

    The first is blind to what was hardly ever drawn. The second takes the target's mean squared residual for that of
    every request, the unlikely ones included: `needed` is the mean of Σ_a π² / p, what w² would be on average. Four
    rows of the worst variance are assumed beside the effective ones, lest a few equal outcomes look certain.
    """
    rows = len(weights)
    drawn = float((direct + weights * residuals).var())
    square = float((weights * residuals**2).sum() / weights.sum())
    effective = rows / needed
    if worst_variance:
        square = (effective * square + ASSUMED_ROWS * worst_variance) / (effective + ASSUMED_ROWS)
    implied = float(direct.var()) + needed * square - float((weights * residuals).mean()) ** 2
    return math.sqrt(max(drawn, implied, 0.0) / rows)


def _means(values: Floats) -> Floats:
    """The mean of what is known in each column, 0 where nothing is."""
    known = ~np.isnan(values)
    return np.asarray(np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))


def _filled(predicted: Floats, chosen: NDArray[np.intp], rewards: Floats, models: int) -> Floats:
    counts = np.bincount(chosen, minlength=models)
    means = np.bincount(chosen, weights=rewards, minlength=models) / np.maximum(counts, 1)
    means = np.where(counts > 0, means, rewards.mean())
    return np.where(np.isnan(predicted), means[None, :], predicted)
