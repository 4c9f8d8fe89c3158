"""How good predicted values are: pure functions over one context's predictions and outcomes.

Outcomes r in [0, 1] count as a success from 0.5 on, as in the paper, wherever a class is needed. A metric that
does not exist (one class only, no pair) is NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]


def auc(values: Floats, outcomes: Floats) -> float:
    """Probability that a success is valued above a failure, ties counted half (intra-context AUC)."""
    success = outcomes >= 0.5
    successes, failures = int(success.sum()), int((~success).sum())
    if not successes or not failures:
        return float("nan")
    ranks = rankdata(values)
    return float((ranks[success].sum() - successes * (successes + 1) / 2) / (successes * failures))


def pairwise_accuracy(values: Floats, outcomes: Floats, strict: bool = False) -> float:
    """
    Share of (success, failure) pairs put in the right order.

    `strict` (the paper's) asks for the success above 0.5 and the failure below it; soft is the AUC, ties lost.
    """
    success = outcomes >= 0.5
    above, below = values[success], values[~success]
    if not len(above) or not len(below):
        return float("nan")
    if strict:
        return float((above >= 0.5).mean() * (below < 0.5).mean())
    order = np.sort(below)
    return float(np.searchsorted(order, above, side="left").mean() / len(order))


def calibration_mse(values: Floats, outcomes: Floats) -> float:
    """Mean of (V − r)²."""
    return float(np.mean((values - outcomes) ** 2))


def expected_calibration_error(values: Floats, outcomes: Floats, bins: int = 10) -> float:
    """Σ over equal-width bins of share × |mean V − mean r|."""
    which = np.minimum((values * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins)
    gap = np.abs(np.bincount(which, values - outcomes, minlength=bins))
    return float(gap[count > 0].sum() / len(values))
