"""The lines that see the test scores. They are functions and no routers: nothing that learns can be given these.

N test prompts by M models; scores and realised costs NaN where a pair was not observed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.baselines.base import TIE, cheapest_best

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def per_prompt(test_scores: NDArray[np.floating], test_costs: NDArray[np.floating]) -> NDArray[np.intp]:
    """
    The cheapest correct model, else the cheapest model (LLMRouterBench): columns (N,).

    Correct is the best score that any model has on the prompt, unless that is 0. With scores of 0 and 1 that is
    the published rule; with scores between, no router can be more accurate than this line. A pair of unknown cost
    is taken after those of known cost. A prompt without any score gets the cheapest model.
    """
    scores = np.where(np.isnan(test_scores), -1.0, test_scores)
    best = scores.max(axis=1, keepdims=True)
    eligible = np.where(best > 0, scores >= best - TIE, scores >= 0)
    eligible |= ~eligible.any(axis=1, keepdims=True)
    costs = np.where(np.isnan(test_costs), np.finfo(np.float64).max, test_costs)
    return np.where(eligible, costs, np.inf).argmin(axis=1)


def per_dataset(
    test_scores: NDArray[np.floating], test_costs: NDArray[np.floating], datasets: Sequence[str]
) -> NDArray[np.intp]:
    """The model with the best mean test score on each prompt's dataset, the cheaper of equals: columns (N,)."""
    names = np.array(datasets, dtype=object)
    choices = np.zeros(len(names), dtype=np.intp)
    for name in set(datasets):
        rows = np.flatnonzero(names == name)
        means = _means(test_scores[rows], unknown=-1.0)
        costs = _means(test_costs[rows], unknown=np.finfo(np.float64).max)
        choices[rows] = cheapest_best(means[None], costs)[0]
    return choices


def _means(matrix: NDArray[np.floating], unknown: float) -> NDArray[np.float64]:
    known = ~np.isnan(matrix)
    totals = np.where(known, matrix, 0).sum(axis=0, dtype=np.float64)
    return np.divide(
        totals, known.sum(axis=0), out=np.full(matrix.shape[1], unknown), where=known.any(axis=0)
    )
