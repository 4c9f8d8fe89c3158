"""What is measured on the decisions and predictions of a router. Pure functions.

P prompts by M models; scores r in [0, 1] and realised costs are (P, M). A prompt counts with a weight: all ones for
the measured figure, a row of `resamples` for one redraw of its bootstrap interval. Where the functions take weights
(B, P), they answer for all B rows at once: (B,). What cannot be computed is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.baselines.base import normalised_costs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SUCCESS = 0.5  # scores from here on count as a success wherever a class is needed, as in V0's paper
BINS = 10
CONFIDENCE = 0.95
FEW = 0.25  # "few models solve it": at most this share of them, and at least one


@dataclass(frozen=True)
class CalibrationBin:
    """Predictions of one equal-width bin: their mean, the mean score they met, and how many."""

    predicted: float
    observed: float
    count: int


def picked(matrix: NDArray[np.floating], choices: NDArray[np.integer]) -> Floats:
    """The entry of each prompt's chosen model: matrix (P, M), choices (..., P) of columns, to (..., P)."""
    return matrix[np.arange(matrix.shape[0]), choices].astype(np.float64)


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Mean over prompts: values (..., P) and weights (B, P) to (..., B)."""
    return values @ weights.T / weights.sum(axis=1)


def shares(choices: NDArray[np.integer], models: int) -> Floats:
    """Share of the prompts that each model gets: (M,)."""
    return np.bincount(choices, minlength=models) / len(choices)


def reward(scores: Floats, costs: Floats, beta: float, cost_scale: float) -> Floats:
    """r_β = β·r + (1−β)·(1−c̃), with c̃ = min(1, realised cost / scale): (P, M). V0, arXiv 2602.03584."""
    return beta * scores + (1 - beta) * (1 - normalised_costs(costs, cost_scale))


def regret(
    scores: Floats, costs: Floats, choices: NDArray[np.integer], beta: float, cost_scale: float
) -> Floats:
    """What each decision gave away, max over the models of r_β less that of the chosen one: (P,)."""
    rewards = reward(scores, costs, beta, cost_scale)
    return rewards.max(axis=1) - picked(rewards, choices)


def gap_closed(accuracy: float, best_single: float, oracle: float) -> float:
    """Share of the way from the best single model to the oracle: 0 is no better than the former; may be negative."""
    return (accuracy - best_single) / (oracle - best_single) if oracle > best_single else float("nan")


def few_solve(scores: Floats) -> NDArray[np.bool_]:
    """Prompts that at least one model solves and at most a quarter of the models (one, in a small fleet): (P,)."""
    solvers = (scores >= SUCCESS).sum(axis=1)
    return (solvers >= 1) & (solvers <= max(1, int(FEW * scores.shape[1])))


def model_recall(scores: Floats, choices: NDArray[np.integer]) -> float:
    """
    How often the router finds a model that solves a prompt, over the prompts that few models solve.

    LLMRouterBench (arXiv 2601.07206) calls its failure the gap that is left between routers and the oracle.
    """
    rare = few_solve(scores)
    return float((picked(scores, choices)[rare] >= SUCCESS).mean()) if rare.any() else float("nan")


def resamples(groups: NDArray[np.integer], count: int, seed: int) -> Floats:
    """
    Bootstrap weights: how often each prompt is drawn, (count, P), when prompts are drawn with replacement.

    Prompts of one group (the same prompt under several seeds) are drawn together. The same arguments give the same
    weights, which is what pairs two routers.
    """
    names, index = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng([seed, len(names)])
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
    return drawn[:, index].astype(np.float64)


def interval(drawn: Floats) -> tuple[float, float]:
    """The ends of the percentile bootstrap interval of 95% (Efron 1979); NaN where a redraw has no figure."""
    if not np.isfinite(drawn).any():
        return float("nan"), float("nan")
    low, high = np.nanquantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def paired_difference(drawn: Floats, reference: Floats) -> tuple[float, float]:
    """The interval of a figure less that of a reference, both redrawn with the same weights (B,)."""
    return interval(drawn - reference)


def prediction_quality(success: Floats, scores: Floats, weights: Floats) -> Mapping[str, Floats]:
    """
    How good predicted successes (P, M) are against scores (P, M), NaN where not observed: each figure (B,).

    One model is one context: each figure is the mean over the models for which it exists. With weights of one they
    are those of `router.value.metrics`: `auc` (ties count half), `pairwise` (ties lost), `mse`, and `ece` over ten
    bins of equal width.
    """
    by_prompt = np.ascontiguousarray(weights.T)  # (P, B): rows are gathered faster than columns
    by_model = [
        _of_one_model(success[seen, m], scores[seen, m].astype(np.float64), by_prompt[seen])
        for m in range(scores.shape[1])
        if (seen := ~np.isnan(scores[:, m])).any()
    ]
    return {
        name: _mean_of_known(np.array([figures[name] for figures in by_model]), len(weights))
        for name in ("auc", "pairwise", "mse", "ece")
    }


def calibration(success: Floats, scores: Floats, bins: int = BINS) -> list[CalibrationBin]:
    """Mean score against mean prediction in each bin of equal width that is not empty, over all observed pairs."""
    seen = ~np.isnan(scores)
    values, outcomes = success[seen], scores[seen]
    which = np.minimum((values * bins).astype(int), bins - 1)
    return [
        CalibrationBin(float(values[inside].mean()), float(outcomes[inside].mean()), int(inside.sum()))
        for b in range(bins)
        if (inside := which == b).any()
    ]


def _of_one_model(values: Floats, outcomes: Floats, weights: Floats) -> Mapping[str, Floats]:
    """AUC, pairwise accuracy, MSE and ECE of one model: values and outcomes (P,), weights (P, B), figures (B,)."""
    order = np.argsort(values, kind="stable")
    ascending, drawn = values[order], weights[order]
    won = outcomes[order] >= SUCCESS
    below = np.concatenate([np.zeros((1, weights.shape[1])), np.cumsum(drawn * ~won[:, None], axis=0)])
    successes = drawn[won]
    lower = below[
        np.searchsorted(ascending, ascending[won], side="left")
    ]  # failures valued less than each success
    no_higher = below[np.searchsorted(ascending, ascending[won], side="right")]
    ordered = np.einsum("pb,pb->b", successes, lower)
    tied = np.einsum("pb,pb->b", successes, no_higher) - ordered
    pairs = successes.sum(axis=0) * below[-1]
    total = weights.sum(axis=0)
    error = ascending - outcomes[order]
    _, bins = np.unique(np.minimum((ascending * BINS).astype(int), BINS - 1), return_index=True)
    gaps = np.add.reduceat(drawn * error[:, None], bins, axis=0)  # (bins that are not empty, B)
    return {
        "auc": _ratio(ordered + tied / 2, pairs),
        "pairwise": _ratio(ordered, pairs),
        "mse": _ratio(np.einsum("p,pb->b", error**2, drawn), total),
        "ece": _ratio(np.abs(gaps).sum(axis=0), total),
    }


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _mean_of_known(figures: Floats, rows: int) -> Floats:
    """Mean over models (M, B), leaving out NaN: (B,)."""
    if not len(figures):
        return np.full(rows, np.nan)
    known = ~np.isnan(figures)
    return _ratio(np.where(known, figures, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))
