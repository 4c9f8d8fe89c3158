"""Outcomes in [0, 1] cut into levels, for a head that tells two classes apart.

At levels u₀ < u₁ < …, E[r] = u₀ + Σ (uₖ − uₖ₋₁)·P(r ≥ uₖ): one cut for outcomes that are 0 or 1, and where they
are not, the mean outcome and not the share above one half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Cut:
    """One level of a context's outcomes: what it adds, and who tells which rows reach it."""

    height: float
    reached: NDArray[np.bool_]  # (N,)
    estimators: int

    @property
    def mixed(self) -> bool:
        return bool(self.reached.any() and not self.reached.all())


def shrunk(labels: NDArray[np.float32]) -> float:
    """The mean outcome, drawn to one half as by two outcomes: what a context says that TabPFN cannot read."""
    return float((labels.sum(dtype=np.float64) + 1) / (len(labels) + 2))


def cut_into_levels(labels: NDArray[np.float32], most: int, estimators: int) -> tuple[float, list[Cut]]:
    """
    The lowest level of outcomes (N,) and the cuts above it, at most `most`; with `most` 0, one cut at 0.5.

    Without two levels there is no cut, and the floor is the shrunk mean.
    """
    if most == 0:
        reached = labels >= 0.5
        levels = [0.0, 1.0] if 0 < reached.sum() < len(labels) else []
        starts = [0.0, 0.5]
    else:
        starts, levels = _levels(labels, most + 1)
    if len(levels) < 2:
        return shrunk((labels >= 0.5).astype(np.float32) if most == 0 else labels), []
    share, extra = divmod(estimators, len(levels) - 1)
    cuts = [
        Cut(levels[k] - levels[k - 1], labels >= starts[k], max(1, share + (k <= extra)))
        for k in range(1, len(levels))
    ]
    return levels[0], cuts


def _levels(labels: NDArray[np.float32], most: int) -> tuple[list[float], list[float]]:
    """Up to `most` bins of about as many rows: the lowest outcome and the mean outcome of each, ascending."""
    distinct = np.unique(labels)
    if len(distinct) <= most:
        starts = distinct
    else:
        ordered = np.sort(labels)
        starts = np.unique([part[0] for part in np.array_split(ordered, most)])
        if len(starts) < 2:  # nearly all are at the lowest: the few above are one level
            starts = distinct[:2]
    places = np.searchsorted(starts, labels, side="right") - 1
    means = [float(labels[places == k].mean(dtype=np.float64)) for k in range(len(starts))]
    return [float(start) for start in starts], means
