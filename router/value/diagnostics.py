"""Does V0 read the prompt, or only how strong the context's policy is? Means, intervals and the shortcut I(Y;C).

The paper (arXiv 2602.03584) splits what context C and prompt X tell of the outcome Y: I(Y; X, C) = I(Y; C) + I(Y; X|C).
The first part is a shortcut: the context's mean outcome has it without any prompt. Appendix B argues that pairs of one
context train the second part alone, because a term that is the same for all prompts of a context cancels in them.
What is measured here, on any model's values:

- `information`: both parts in nats as far as the values carry them: how much cross-entropy falls from the mean of all
  outcomes to each context's mean value (the shortcut), and from there to the values themselves (the prompt).
- `residual_context` and `residual_query`: Spearman's ρ of the error V - r with the context's mean outcome μ(C), and
  with the query's difficulty D_x, its mean outcome over the other policies. Errors that go with μ(C) are a shortcut's;
  errors that go with D_x are of a prompt that was not read. Over 0/1 outcomes the ranks of errors lean to one side even
  where means are right, so ρ of the true chances is not zero; `error_context` and `error_query` are Pearson's: zero.
- `gradient_share`: the share of a loss's squared gradient (in the logits) that lies in the span of the context
  indicators, where only the shortcut moves. Zero for pairs of one context, by construction.

Intervals are bootstraps over queries within policies and over seeds, 95%. A query that several seeds ask of a policy
is drawn as often in all of them: seeds do not make it several queries.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import rankdata

from router.value.losses import LossName, loss_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Rows = NDArray[np.intp]
    Statistic = Callable[[Sequence["Valued"]], float]

DRAWS = 200
EDGE = 1e-4  # values are kept this far from 0 and 1 where a logarithm is taken


@dataclass(frozen=True)
class Valued:
    """What was foretold of one policy's queries, and what came; with what the diagnostics compare errors to."""

    policy: str
    kind: str
    values: Floats  # (M,)
    outcomes: Floats  # (M,)
    prior: float  # μ(C), the context's mean outcome
    difficulty: Floats  # (M,), D_x: the query's mean outcome over the other policies, NaN where there is none
    queries: Rows  # (M,), which prompts these are, the same number for the same prompt in every run


def difficulty(scores: Floats, rows: NDArray[np.intp], column: int) -> Floats:
    """
    Mean outcome of each row's prompt over all policies but one, from scores (P, policies); NaN where no other has any.

    The paper's D_x means over all policies. Where few have answered, a policy's own outcome would make its D_x.
    """
    others = np.delete(scores[rows], column, axis=1)
    count = np.isfinite(others).sum(1)
    return np.where(count > 0, np.nansum(others, axis=1) / np.maximum(count, 1), np.nan)


def information(valued: Sequence[Valued]) -> tuple[float, float]:
    """Nats per query carried by the shortcut and, beyond it, by the prompt; each may be negative, if it misleads."""
    outcomes = np.concatenate([one.outcomes for one in valued])
    values = np.concatenate([one.values for one in valued])
    means = np.concatenate([np.full(len(one.values), one.values.mean()) for one in valued])
    overall = np.full(len(outcomes), outcomes.mean())
    shortcut = _entropy(overall, outcomes) - _entropy(means, outcomes)
    return shortcut, _entropy(means, outcomes) - _entropy(values, outcomes)


def shortcut_information(valued: Sequence[Valued]) -> float:
    """What the shortcut carries, in nats: the estimate of I(Y; C)."""
    return information(valued)[0]


def prompt_information(valued: Sequence[Valued]) -> float:
    """What the prompt adds, in nats: the estimate of I(Y; X|C)."""
    return information(valued)[1]


def residual_context(valued: Sequence[Valued]) -> float:
    """Spearman's ρ(V - r, μ(C)) over all queries of all policies (Appendix B); NaN for a single context."""
    return _correlation(*(rankdata(side) for side in _errors_and_priors(valued)))


def residual_query(valued: Sequence[Valued]) -> float:
    """Spearman's ρ(V - r, D_x) over queries that another policy has answered too (Appendix B); NaN without any."""
    return _correlation(*(rankdata(side) for side in _errors_and_difficulties(valued)))


def error_context(valued: Sequence[Valued]) -> float:
    """Pearson's correlation of V - r with μ(C): zero, and not only near it, for values that are right on average."""
    return _correlation(*_errors_and_priors(valued))


def error_query(valued: Sequence[Valued]) -> float:
    """Pearson's correlation of V - r with D_x."""
    return _correlation(*_errors_and_difficulties(valued))


def shortcut_variance(valued: Sequence[Valued]) -> float:
    """Share of the logits' variance that lies between contexts: 1 for the context's mean, 0 for no shortcut at all."""
    logits = [_logit(one.values) for one in valued]
    every = np.concatenate(logits)
    between = sum(len(one) * (one.mean() - every.mean()) ** 2 for one in logits) / len(every)
    return float(between / every.var()) if every.var() > 0 else float("nan")


def gradient_share(loss: LossName, valued: Sequence[Valued]) -> float:
    """Share of the loss's squared gradient that only moves whole contexts, in [0, 1]; NaN without a gradient."""
    longest = max(len(one.values) for one in valued)
    logits, labels, mask = (torch.zeros(len(valued), longest, dtype=torch.float64) for _ in range(3))
    for i, one in enumerate(valued):
        count = len(one.values)
        logits[i, :count] = torch.from_numpy(_logit(one.values))
        labels[i, :count] = torch.from_numpy(np.asarray(one.outcomes))
        mask[i, :count] = 1
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(loss_named(loss)(logits, labels, mask.bool()), logits)
    moved = gradient.sum(1).square() / mask.sum(1)
    whole = gradient.square().sum()
    return float(moved.sum() / whole) if whole > 0 else float("nan")


def mean_over_policies(metric: Callable[[Floats, Floats], float]) -> Statistic:
    """The metric of each policy, then their mean, those without one left out: never pooled."""

    def statistic(valued: Sequence[Valued]) -> float:
        return _mean([metric(one.values, one.outcomes) for one in valued])

    return statistic


@dataclass(frozen=True)
class Estimate:
    """A mean over runs with its 95% interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]" if np.isfinite(self.mean) else "–"


def estimates(
    statistics: Mapping[str, Statistic],
    runs: Sequence[Sequence[Valued]],
    others: Sequence[Sequence[Valued]] | None = None,
    draws: int = DRAWS,
) -> dict[str, Estimate]:
    """
    Every statistic's mean over runs (seeds) and its interval; with `others`, of `runs` less `others`.

    `others` has the same runs, policies and queries, and is resampled along: a paired difference.
    """
    rng = np.random.default_rng(0)
    found = {
        name: _mean([_less(statistic, runs, others, i) for i in range(len(runs))])
        for name, statistic in statistics.items()
    }
    every = _asked(runs)
    drawn: dict[str, list[float]] = {name: [] for name in statistics}
    for _ in range(draws):
        chosen = rng.integers(len(runs), size=len(runs))
        drawing = {key: rng.choice(asked, size=len(asked)) for key, asked in every.items()}
        picks = [[_pick(one, drawing[one.policy, one.kind]) for one in runs[i]] for i in chosen]
        taken = [_picked(runs[i], pick) for i, pick in zip(chosen, picks, strict=True)]
        beside = others and [_picked(others[i], pick) for i, pick in zip(chosen, picks, strict=True)]
        for name, statistic in statistics.items():
            drawn[name].append(_mean([_less(statistic, taken, beside, i) for i in range(len(taken))]))
    return {name: _estimate(found[name], drawn[name]) for name in statistics}


def _estimate(mean: float, drawn: Sequence[float]) -> Estimate:
    known = [value for value in drawn if np.isfinite(value)]
    if not known:
        return Estimate(mean, float("nan"), float("nan"))
    low, high = np.quantile(known, [0.025, 0.975])
    return Estimate(mean, float(low), float(high))


def _less(
    statistic: Statistic,
    runs: Sequence[Sequence[Valued]],
    others: Sequence[Sequence[Valued]] | None,
    i: int,
) -> float:
    return statistic(runs[i]) - (statistic(others[i]) if others else 0.0)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _asked(runs: Sequence[Sequence[Valued]]) -> dict[tuple[str, str], Rows]:
    """All queries of each policy and kind of trial, whichever run asked them."""
    found: dict[tuple[str, str], list[Rows]] = defaultdict(list)
    for run in runs:
        for one in run:
            found[one.policy, one.kind].append(one.queries)
    return {key: np.unique(np.concatenate(asked)) for key, asked in found.items()}


def _pick(one: Valued, drawn: Rows) -> Rows:
    """Where the drawn queries that one trial asks are in it, as often as they were drawn; never nowhere."""
    order = np.argsort(one.queries)
    at = np.searchsorted(one.queries, drawn, sorter=order).clip(max=len(order) - 1)
    pick = order[at][one.queries[order[at]] == drawn]
    return pick if len(pick) else order


def _picked(run: Sequence[Valued], picks: Sequence[Rows]) -> list[Valued]:
    return [
        replace(
            one,
            values=one.values[pick],
            outcomes=one.outcomes[pick],
            difficulty=one.difficulty[pick],
            queries=one.queries[pick],
        )
        for one, pick in zip(run, picks, strict=True)
    ]


def _entropy(values: Floats, outcomes: Floats) -> float:
    """Cross-entropy in nats, mean over queries."""
    p = values.clip(EDGE, 1 - EDGE).astype(float)
    return float(-np.mean(outcomes * np.log(p) + (1 - outcomes) * np.log(1 - p)))


def _logit(values: Floats) -> NDArray[np.float64]:
    p = np.asarray(values, dtype=np.float64).clip(EDGE, 1 - EDGE)
    return np.log(p / (1 - p))


def _errors_and_priors(valued: Sequence[Valued]) -> tuple[Floats, Floats]:
    errors = np.concatenate([one.values - one.outcomes for one in valued])
    return errors, np.concatenate([np.full(len(one.values), one.prior) for one in valued])


def _errors_and_difficulties(valued: Sequence[Valued]) -> tuple[Floats, Floats]:
    errors = np.concatenate([one.values - one.outcomes for one in valued])
    hard = np.concatenate([one.difficulty for one in valued])
    return errors[np.isfinite(hard)], hard[np.isfinite(hard)]


def _correlation(one: Floats, other: Floats) -> float:
    if len(one) < 3 or np.ptp(one) < 1e-9 or np.ptp(other) < 1e-9:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])
