"""The plane of cost and accuracy: frontiers, hulls, and what is read off them. Pure functions.

A curve is K operating points of one router: `cost` (K,) in any one unit, and `accuracy` (K,) in [0, 1]. Nothing is
assumed of their order. RouterBench is arXiv 2403.12031, LLMRouterBench arXiv 2601.07206.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


def pareto(cost: ArrayLike, accuracy: ArrayLike) -> NDArray[np.intp]:
    """
    The points that no other beats: indices by rising cost, which is rising accuracy too.

    A point is beaten by one that is no dearer and no less accurate, and better in one of the two. Of equal points
    the first stays.
    """
    costs, accuracies = _curve(cost, accuracy)
    order = np.lexsort((-accuracies, costs))  # stable: of equals the first
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(accuracies[order])[:-1]])
    return order[accuracies[order] > best_before]


def hull(cost: ArrayLike, accuracy: ArrayLike) -> Floats:
    """
    RouterBench's non-decreasing convex hull: corners (H, 2) of (cost, accuracy) by rising cost.

    What can be had by tossing a coin between two points. Over the single models it is the zero router.
    """
    costs, accuracies = _curve(cost, accuracy)
    corners: list[tuple[float, float]] = []
    for index in pareto(costs, accuracies):
        point = (float(costs[index]), float(accuracies[index]))
        while len(corners) > 1 and _below(corners[-1], corners[-2], point):
            corners.pop()
        corners.append(point)
    return np.array(corners)


def accuracy_at(corners: Floats, budget: ArrayLike) -> Floats:
    """
    The accuracy that a hull buys for each budget: linear between corners, flat after the last one.

    Below the first it falls to 0 at no cost: the coin is tossed with not answering (RouterBench's null router).
    """
    with_null = corners if corners[0, 0] <= 0 else np.concatenate([[[0.0, 0.0]], corners])
    return np.interp(np.asarray(budget, dtype=np.float64), with_null[:, 0], with_null[:, 1])


def aiq(cost: ArrayLike, accuracy: ArrayLike, low: float, high: float) -> float:
    """
    RouterBench's average improvement in quality: the hull's mean accuracy over budgets from `low` to `high`.

    AIQ = 1 / (high − low) · ∫ hull(c) dc, the hull with the null router. The range is that of the single models'
    mean costs and thus the same for every router. Where it is empty, the best accuracy for `high`.
    """
    costs, accuracies = _curve(cost, accuracy)
    corners = hull(np.append(costs, 0.0), np.append(accuracies, 0.0))
    if high <= low:
        return float(accuracy_at(corners, high))
    inside = corners[(corners[:, 0] > low) & (corners[:, 0] < high), 0]
    budgets = np.concatenate([[low], inside, [high]])
    return float(np.trapezoid(accuracy_at(corners, budgets), budgets) / (high - low))


def hypervolume(cost: ArrayLike, accuracy: ArrayLike, low: float, high: float) -> float:
    """
    Share of the rectangle [low, high] × [0, 1] that the points dominate (Zitzler and Thiele 1999).

    Unlike AIQ it tosses no coins: the best accuracy at or below each budget, averaged. Where the range is empty, the
    best accuracy for `high`.
    """
    costs, accuracies = _curve(cost, accuracy)
    best = pareto(costs, accuracies)
    costs, accuracies = costs[best], accuracies[best]
    if high <= low:
        return float(max(accuracies[costs <= high], default=0.0))
    ends = np.append(np.clip(costs, low, high), high)
    return float((accuracies * np.diff(ends)).sum() / (high - low))


def joint(curves: Sequence[tuple[ArrayLike, ArrayLike]]) -> tuple[Floats, Floats]:
    """
    Several curves together: their Pareto frontier (F, 2) of (cost, accuracy) by rising cost, and their spans (2,).

    A span is the largest less the smallest of all points' costs, or accuracies.
    """
    pairs = [_curve(cost, accuracy) for cost, accuracy in curves]
    points = np.column_stack(
        [np.concatenate([cost for cost, _ in pairs]), np.concatenate([accuracy for _, accuracy in pairs])]
    )
    return points[pareto(points[:, 0], points[:, 1])], np.ptp(points, axis=0)


def pareto_distance(frontier: Floats, spans: Floats, cost: ArrayLike, accuracy: ArrayLike) -> float:
    """
    ParetoDist: the mean distance of a router's points to the joint frontier (F, 2).

    LLMRouterBench publishes no formula. Ours: both axes min-max scaled, by the spans (2,) of all routers' points
    (an axis without a span counts for nothing), then the Euclidean distance to the nearest segment of the frontier.
    """
    scale = np.where(spans > 0, spans, np.inf)
    points = np.column_stack(_curve(cost, accuracy)) / scale  # (K, 2)
    corners = frontier / scale
    starts, ends = (corners[:-1], corners[1:]) if len(corners) > 1 else (corners, corners)
    along = ends - starts  # (F - 1, 2)
    squared = (along**2).sum(axis=1)
    offset = points[:, None] - starts  # (K, F - 1, 2)
    share = np.clip((offset * along).sum(axis=2) / np.where(squared > 0, squared, 1.0), 0.0, 1.0)
    distances = np.sqrt(((offset - share[..., None] * along) ** 2).sum(axis=2))
    return float(distances.min(axis=1).mean())


def perf_gain(accuracy: float, best_single: float) -> float:
    """LLMRouterBench's PerfGain: accuracy / accuracy of the best single model − 1; NaN where that is 0."""
    return accuracy / best_single - 1 if best_single > 0 else float("nan")


def cost_save(cost: float, best_single_cost: float) -> float:
    """LLMRouterBench's CostSave: 1 − cost / cost of the best single model; NaN where that is 0."""
    return 1 - cost / best_single_cost if best_single_cost > 0 else float("nan")


def most_accurate(cost: ArrayLike, accuracy: ArrayLike) -> int:
    """The operating point of PerfGain: the highest accuracy, the cheapest of equals."""
    costs, accuracies = _curve(cost, accuracy)
    return int(np.lexsort((costs, -accuracies))[0])


def cheapest_as_good(cost: ArrayLike, accuracy: ArrayLike, at_least: float) -> int | None:
    """The operating point of CostSave: the cheapest with at least this accuracy, None where there is none."""
    costs, accuracies = _curve(cost, accuracy)
    good = np.flatnonzero(accuracies >= at_least - 1e-12)
    return int(good[np.lexsort((-accuracies[good], costs[good]))[0]]) if len(good) else None


def _curve(cost: ArrayLike, accuracy: ArrayLike) -> tuple[Floats, Floats]:
    costs, accuracies = np.asarray(cost, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    if costs.shape != accuracies.shape or costs.ndim != 1 or not len(costs):
        raise ValueError(f"cost {costs.shape} and accuracy {accuracies.shape} are not the points of a curve")
    if np.isnan(costs).any() or np.isnan(accuracies).any():
        raise ValueError("a point without cost or accuracy is no operating point")
    return costs, accuracies


def _below(middle: tuple[float, float], left: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether `middle` is on or under the line from `left` to `right`."""
    (x0, y0), (x1, y1), (x2, y2) = left, middle, right
    return (y1 - y0) * (x2 - x0) <= (y2 - y0) * (x1 - x0)
