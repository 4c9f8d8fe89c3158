"""How many rollouts each prompt gets, before any rollout: V0's budget (Eq. 9–10) and the policies it is compared with.

    maximise  Σ B(1−p)[1 − (1−p)^(B−1)]   subject to  Σ B = total,  low ≤ B ≤ high

p is the success rate that is predicted of a prompt, B its rollouts; a term is the expected number of failures that
have a success beside them. Every policy has the signature of `Policy`, keeps the total and the bounds, and settles
ties in favour of the earlier prompt.

A term is concave in B from B = 2(1−p)/p on, so from B = 2 on where p ≥ ½, and convex before. `greedy` is therefore the
best allocation where all p ≥ ½, and may be far from it where some are smaller; `envelope` is within one prompt of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

LOW, HIGH = 2, 128  # V0's bounds
LEAST_WEIGHT = 1e-9  # of the largest: what a prompt of no variance weighs once all others are full
HALVINGS = 80
SAMPLE, MARGIN = 2_000, 0.04  # columns whose quantiles bracket a rank, and how far apart, as a share


class Policy(Protocol):
    """Predicted success rates and a total in, rollouts out."""

    def __call__(self, values: ArrayLike, total: int, *, low: int = LOW, high: int = HIGH) -> Counts:
        """
        Rollouts of each prompt, (N,), between `low` and `high`, `total` of them.

        `values` (N,) are success rates in [0, 1]. Raises `ValueError` where one is not, or is no number, and where
        no allocation within the bounds has that total.
        """
        ...


def utility(values: ArrayLike, budgets: ArrayLike) -> Floats:
    """B(1−p)[1 − (1−p)^(B−1)], prompt by prompt (V0, Eq. 9): expected failures that have a success beside them."""
    failure, count = 1.0 - np.asarray(values, dtype=float), np.asarray(budgets, dtype=float)
    return count * failure * (1.0 - failure ** (count - 1.0))


def greedy(values: ArrayLike, total: int, *, low: int = LOW, high: int = HIGH) -> Counts:
    """
    V0's policy (Eq. 10): one rollout at a time to the prompt to which it adds most. As `Policy`.

    The same allocation as a heap's, rollout by rollout, without one. It never looks beyond the next rollout: from
    p ≤ ⅓ down, where the next one adds less than any after it, a prompt gets `high` or keeps `low`.
    """
    rates = _checked(values, total, low, high)
    return low + _fill(_marginals(rates, low, high), total - low * len(rates))


def envelope(values: ArrayLike, total: int, *, low: int = LOW, high: int = HIGH) -> Counts:
    """
    Greedy on each term's smallest concave majorant: what is best, but for one prompt. As `Policy`.

    Where terms are convex first, they are replaced by the chord from `low` to the point of the highest mean gain.
    The sum of the majorants bounds every allocation's utility, and only the last prompt served can be inside its
    chord, so the loss is at most that one prompt's distance from its chord; where all p ≥ ½ there is none.
    """
    rates = _checked(values, total, low, high)
    gains = _marginals(rates, low, high)
    if len(gains):
        steps = np.arange(1, len(gains) + 1)[:, None]
        mean_gains = np.cumsum(gains, axis=0) / steps
        ends = mean_gains.argmax(axis=0)
        gains = np.where(steps - 1 <= ends, mean_gains.max(axis=0), gains)
    return low + _fill(gains, total - low * len(rates))


def uniform(values: ArrayLike, total: int, *, low: int = LOW, high: int = HIGH) -> Counts:
    """The same for all, the remainder to the first. As `Policy`; only the number of `values` counts."""
    count = len(_checked(values, total, low, high))
    return total // max(count, 1) + (np.arange(count) < total % max(count, 1)).astype(np.int64)


def variance_proportional(values: ArrayLike, total: int, *, low: int = LOW, high: int = HIGH) -> Counts:
    """
    In proportion to p(1−p), as far as the bounds allow; fractions to the largest remainders. As `Policy`.

    Prompts without variance share equally what is left once all others have `high`.
    """
    rates = _checked(values, total, low, high)
    if not len(rates):
        return np.zeros(0, dtype=np.int64)
    weights = rates * (1 - rates)
    weights = np.maximum(weights / weights.max(), LEAST_WEIGHT) if weights.max() > 0 else np.ones(len(rates))
    below, above = 0.0, high / weights.min()
    for _ in range(HALVINGS):
        scale = (below + above) / 2
        below, above = (
            (scale, above) if np.clip(scale * weights, low, high).sum() <= total else (below, scale)
        )
    shares = np.clip(below * weights, low, high)
    budgets = np.floor(shares).astype(np.int64)
    order = np.argsort(budgets - shares, kind="stable")
    order = order[budgets[order] < high]
    budgets[order[: total - budgets.sum()]] += 1
    return budgets


def knapsack(values: ArrayLike, total: int, *, low: int = LOW, high: int = HIGH) -> Counts:
    """
    Knapsack RL (Li et al. 2025, arXiv:2509.25849): the best for Σ [1 − p^B − (1−p)^B]·p(1−p)². As `Policy`.

    The chance of a gradient times what it is worth. Concave in B, so greedy finds what their dynamic programme does.
    Their fallback for prompts at p = 0 or 1 is not part of it: those get more than `low` only when all others are full.
    """
    rates = _checked(values, total, low, high)
    worth = rates * (1 - rates) ** 2
    success, failure = worth * (1 - rates) * rates**low, worth * rates * (1 - rates) ** low
    gains = np.empty((high - low, len(rates)))
    for row in gains:
        np.add(success, failure, out=row)
        success *= rates
        failure *= 1 - rates
    return low + _fill(gains, total - low * len(rates))


@dataclass(frozen=True)
class PreviousEpoch:
    """
    `policy` on what was observed in the last epoch instead of predictions. As `Policy`; `values` only counts.

    `rates` (N,) are the prompts' success rates then, NaN where a prompt was not rolled out: such a prompt is taken to
    be like the mean of the others, or ½ where there is none.
    """

    rates: Floats
    policy: Policy = greedy

    def __call__(self, values: ArrayLike, total: int, *, low: int = LOW, high: int = HIGH) -> Counts:
        """As `Policy`. Raises `ValueError` also where there are not as many rates as values."""
        count, rates = len(_checked(values, total, low, high)), np.asarray(self.rates, dtype=float)
        if rates.shape != (count,):
            raise ValueError(f"{count} prompts, but rates of the last epoch have shape {rates.shape}")
        return self.policy(filled(rates), total, low=low, high=high)


def filled(rates: ArrayLike) -> Floats:
    """Observed success rates (N,), with the mean of the others where one is NaN, and ½ where all are."""
    known = np.asarray(rates, dtype=float)
    seen = ~np.isnan(known)
    return np.where(seen, known, known[seen].mean() if seen.any() else 0.5)


POLICIES: Mapping[str, Policy] = {
    "greedy": greedy,
    "envelope": envelope,
    "uniform": uniform,
    "variance": variance_proportional,
    "knapsack": knapsack,
}
"""Policies by name, all that need no more than predictions."""


def _checked(values: ArrayLike, total: int, low: int, high: int) -> Floats:
    rates = np.asarray(values, dtype=float)
    if rates.ndim != 1:
        raise ValueError(f"success rates must be one-dimensional, not of shape {rates.shape}")
    outside = ~((rates >= 0) & (rates <= 1))
    if outside.any():
        first = int(outside.argmax())
        raise ValueError(f"success rate {first} is {rates[first]}, not in [0, 1]")
    if not 1 <= low <= high:
        raise ValueError(f"bounds must be 1 ≤ low ≤ high, not {low} and {high}")
    if total != int(total):
        raise ValueError(f"the total must be a whole number of rollouts, not {total}")
    if not low * len(rates) <= total <= high * len(rates):
        raise ValueError(
            f"{len(rates)} prompts with {low} to {high} rollouts each take "
            f"{low * len(rates)} to {high * len(rates)}, not {total}"
        )
    return rates


def _marginals(rates: Floats, low: int, high: int) -> Floats:
    """What the rollout after the B-th adds, q − q^B(q − Bp) with q = 1 − p: (high − low, N), first for B = low."""
    failure = 1 - rates
    power = failure**low
    gains = np.empty((high - low, len(rates)))
    for row, count in zip(gains, range(low, high), strict=True):
        np.multiply(power, failure - count * rates, out=row)
        np.subtract(failure, row, out=row)
        power *= failure
    return gains


def _fill(gains: Floats, steps: int) -> Counts:
    """
    How many steps each column gets when `steps` are taken one by one, each where the next gain is the largest.

    `gains` (S, N) are each column's in order, and overwritten. A step is taken no sooner than those before it in its
    column, so it ranks by the smallest gain up to it; steps of one rank go to the first column, as far as it has any.
    """
    np.minimum.accumulate(gains, axis=0, out=gains)
    if not steps:
        return np.zeros(gains.shape[1], dtype=np.int64)
    threshold = _largest(gains, steps)
    taken = (gains > threshold).sum(axis=0)
    ties = (gains == threshold).sum(axis=0)
    return taken + np.clip(steps - taken.sum() - (ties.cumsum() - ties), 0, ties)


def _largest(gains: Floats, rank: int) -> float:
    """The `rank`-th largest of all, sought between two quantiles of a sample of columns where there are many."""
    columns, among = gains.shape[1], gains.ravel()
    if columns >= 2 * SAMPLE:
        sample = np.sort(gains[:, :: columns // SAMPLE], axis=None)
        place = (1 - rank / gains.size + np.array([-MARGIN, MARGIN])) * sample.size
        low, high = sample[np.clip(place.astype(int), 0, sample.size - 1)]
        inside = gains[(gains >= low) & (gains <= high)]
        rank_inside = rank - int(np.count_nonzero(gains > high))
        if 1 <= rank_inside <= inside.size:
            among, rank = inside, rank_inside
    return float(np.partition(among, among.size - rank)[among.size - rank])
