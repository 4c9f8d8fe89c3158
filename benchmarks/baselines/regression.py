"""Convex fits that several routers share: ridge and logistic regression of many columns with gaps.

N prompts by F features by M columns; a target of NaN is not observed. Solved for all columns at once, where
scikit-learn's estimators would be fitted one by one, since every column has gaps of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # of a ridge regression


def columns_by_gaps(observed: NDArray[np.bool_]) -> list[tuple[NDArray[np.bool_], NDArray[np.intp]]]:
    """Columns of a mask (N, M) that are observed on the same rows: (rows (N,), columns) each."""
    groups: dict[bytes, list[int]] = {}
    for column in range(observed.shape[1]):
        groups.setdefault(observed[:, column].tobytes(), []).append(column)
    return [(observed[:, columns[0]], np.array(columns, dtype=np.intp)) for columns in groups.values()]


def ridge(
    features: Floats, targets: Floats, penalties: Sequence[float], unknown: Floats
) -> NDArray[np.float64]:
    """
    argmin_w Σ_observed (y − w·x − b)² + penalty·|w|²: weights with the intercept last, (penalties, M, F+1).

    A column without any target is the constant `unknown` (M,).
    """
    count = features.shape[1]
    solutions = np.zeros((len(penalties), targets.shape[1], count + 1))
    solutions[:, :, -1] = unknown
    for rows, columns in columns_by_gaps(~np.isnan(targets)):
        if not rows.any():
            continue
        x, y = features[rows].astype(np.float64), targets[rows][:, columns].astype(np.float64)
        centre, middle = x.mean(axis=0), y.mean(axis=0)
        x -= centre
        values, vectors = np.linalg.eigh(x.T @ x)
        along = vectors.T @ (x.T @ (y - middle))  # (F, columns)
        for i, penalty in enumerate(penalties):
            weights = vectors @ (along / (np.maximum(values, 0) + penalty)[:, None])
            solutions[i, columns, :-1] = weights.T
            solutions[i, columns, -1] = middle - centre @ weights
    return solutions


def linear(features: Floats, solution: NDArray[np.float64]) -> NDArray[np.float64]:
    """w·x + b of every column: (N, M), from weights (M, F+1)."""
    return features @ solution[:, :-1].T + solution[:, -1]


class RidgeRegressions:
    """One for each column, under the one penalty that errs least on other prompts; further columns under the same."""

    def __init__(
        self,
        features: Floats,
        targets: Floats,
        unknown: Floats,
        judged: Floats,  # features of those other prompts
        error: Callable[[NDArray[np.float64]], float],  # of what is predicted for them
    ) -> None:
        fits = ridge(features, targets, PENALTIES, unknown)
        best = int(np.argmin([error(linear(judged, fit)) for fit in fits]))
        self._penalty, self._fit = PENALTIES[best], fits[best]

    def add(self, features: Floats, targets: Floats, unknown: Floats) -> None:
        """Columns behind those that there are; arguments as for `ridge`."""
        fit = ridge(features, targets, [self._penalty], unknown)[0]
        self._fit = np.concatenate([self._fit, fit])

    def predict(self, features: Floats) -> NDArray[np.float64]:
        """Every column, (N, M)."""
        return linear(features, self._fit)


def logistic(
    features: Floats,  # (N, F)
    scores: Floats,  # (N, M) in [0, 1]
    precision: Floats | float,  # of the Gaussian prior, (F,) or for all; 0 leaves a weight free
    centre: Floats | float = 0.0,  # of the prior, (F,)
    offset: Floats | float = 0.0,  # added to the logits, (N, 1)
    steps: int = 100,
) -> NDArray[np.float64]:
    """
    argmin_w Σ_observed BCE(score, σ(w·x + offset)) + ½·Σ precision·(w − centre)²: (M, F), by L-BFGS.

    A column without any score stays at the prior's centre.
    """
    import torch
    from torch.nn import functional as F

    def tensor(values: Floats | float) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values, dtype=np.float32))

    observed = ~np.isnan(scores)
    rows = observed.any(axis=1)
    x, seen = tensor(features[rows]), tensor(observed[rows])
    labels = tensor(np.where(observed, scores, 0.0)[rows])
    shift = tensor(np.broadcast_to(offset, (len(scores), 1))[rows])
    strength, start = tensor(precision), tensor(np.broadcast_to(centre, features.shape[1:]))
    weights = start.expand(scores.shape[1], -1).clone().requires_grad_()
    optimiser = torch.optim.LBFGS([weights], max_iter=steps, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = x @ weights.T + shift
        total = F.binary_cross_entropy_with_logits(logits, labels, weight=seen, reduction="sum")
        total = (total + 0.5 * (strength * (weights - start) ** 2).sum()) / max(1, len(x))
        total.backward()
        return total

    optimiser.step(loss)
    return weights.detach().double().numpy()


def platt(logits: Floats, scores: Floats) -> tuple[float, float]:
    """
    Slope ≥ 0 and offset with which σ(slope·logit + offset) fits the observed scores best (Platt 1999).

    For routers whose published output ranks models and is no probability. The order within a prompt is kept.
    """
    observed = ~np.isnan(scores)
    if not observed.any():
        return 1.0, 0.0
    x = logits[observed].astype(np.float64)
    middle, spread = float(x.mean()), float(x.std()) or 1.0
    features = np.stack([(x - middle) / spread, np.ones_like(x)], axis=1)
    slope, offset = logistic(features, scores[observed][:, None], precision=1e-3)[0]
    slope = max(float(slope), 1e-3) / spread
    return slope, float(offset) - slope * middle


def sigmoid(logits: Floats) -> NDArray[np.float64]:
    """1 / (1 + e^−x), without overflow."""
    from scipy.special import expit

    result: NDArray[np.float64] = expit(np.asarray(logits, dtype=np.float64))
    return result
