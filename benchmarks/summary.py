"""Cells into figures: every line, router or reference, measured on the same prompts, seed after seed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import figures, frontier, metrics
from benchmarks.baselines import oracle
from benchmarks.cells import fleets
from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from benchmarks.cells import Cell, Fleet
    from benchmarks.outcomes import Outcomes
    from benchmarks.splits import Split

    Floats = NDArray[np.float64]

REDRAWS = 500
QUALITY_REDRAWS = 200  # of the prediction metrics, which take longer
LEAST_PROMPTS = 10  # complete test prompts, below which nothing can be said about routing
BUDGETS = 24  # of the zero router's line, evenly spaced on a linear axis, and as many on a logarithmic one


@dataclass
class Gathered:
    """One line's figures, seed after seed."""

    learns: bool = False
    takes_new_models: bool | None = None
    sees_test: bool = False
    betas: Sequence[float] | None = None
    seeds: list[int] = field(default_factory=list)
    curves: list[figures.Curve] = field(default_factory=list)
    figures: list[dict[str, Floats]] = field(default_factory=list)  # (R,) each
    peaks: list[tuple[float, float]] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    correct: list[tuple[list[str], Floats]] = field(
        default_factory=list
    )  # datasets and scores at the largest β
    quality: list[tuple[Floats, Floats]] = field(default_factory=list)  # predictions and scores, (P, M)


@dataclass(frozen=True)
class Ground:
    """The test prompts of one seed for one fleet."""

    split: Split
    columns: NDArray[np.intp]  # of the data's models
    complete: NDArray[np.bool_]  # of the test prompts: those with an outcome of every model of the fleet
    truth: figures.Truth
    weights: Floats  # (R, test prompts)
    validation_rows: NDArray[np.bool_]


def complete_rows(outcomes: Outcomes, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which of some prompts have a score and a cost of every model of a fleet."""
    chosen = np.ix_(rows, columns)
    missing = np.isnan(outcomes.scores[chosen]) | np.isnan(outcomes.costs[chosen])
    whole: NDArray[np.bool_] = np.logical_not(missing.any(axis=1))
    return whole


def check(outcomes: Outcomes, split: Split) -> None:
    """Raise `OutcomesError` when too few test prompts have an outcome of every model."""
    for columns in fleets(split, len(outcomes.models)).values():
        whole = int(complete_rows(outcomes, split.test, columns).sum())
        if len(split.test) < LEAST_PROMPTS:
            raise OutcomesError(
                f"{outcomes.name}: {len(split.test)} test prompts (seed {split.seed}) of {len(outcomes.texts)} are too "
                f"few, {LEAST_PROMPTS} are needed; more prompts would do, or a larger --test-size"
            )
        if whole < LEAST_PROMPTS:
            missing = np.isnan(outcomes.scores[np.ix_(split.test, columns)]).mean(axis=0)
            worst = [outcomes.models[columns[m]].name for m in np.argsort(-missing)[:3]]
            raise OutcomesError(
                f"{outcomes.name}: {whole} of {len(split.test)} test prompts (seed {split.seed}) have an outcome of "
                f"every model, {LEAST_PROMPTS} are needed; --models takes a subset (most is missing of "
                f"{', '.join(worst)})"
            )


def gather(
    outcomes: Outcomes, splits: Sequence[Split], cells: Sequence[Cell], fleet: Fleet
) -> tuple[dict[str, Gathered], list[Ground]]:
    """Figures of every line under every seed for which the best single model is known."""
    by_seed: dict[int, dict[str, Cell]] = defaultdict(dict)
    for cell in cells:
        by_seed[cell.seed][cell.router] = cell
    usable = [split for split in splits if "best-single" in by_seed[split.seed]]
    if not usable:
        return {}, []
    tested = np.unique(np.concatenate([split.test for split in usable]))
    drawn = metrics.resamples(tested, REDRAWS, seed=0)
    lines: dict[str, Gathered] = defaultdict(Gathered)
    grounds = []
    for split in usable:
        cell = by_seed[split.seed]["best-single"]
        ground = _ground(
            outcomes, split, fleets(split, len(outcomes.models))[fleet], tested, drawn, cell.cost_scale
        )
        grounds.append(ground)
        _measure(outcomes, ground, by_seed[split.seed], fleet, lines)
    return dict(lines), grounds


def _ground(
    outcomes: Outcomes,
    split: Split,
    columns: NDArray[np.intp],
    tested: NDArray[np.intp],
    drawn: Floats,
    scale: float,
) -> Ground:
    complete = complete_rows(outcomes, split.test, columns)
    own = np.searchsorted(tested, split.test)
    weights = np.concatenate([np.ones((1, len(own))), drawn[:, own]])
    rows = np.ix_(split.test[complete], columns)
    truth = figures.Truth(
        outcomes.scores[rows].astype(np.float64), outcomes.costs[rows], weights[:, complete], scale
    )
    return Ground(
        split, columns, complete, truth, weights, complete_rows(outcomes, split.validation, columns)
    )


def _measure(
    outcomes: Outcomes, ground: Ground, cells: Mapping[str, Cell], fleet: Fleet, lines: dict[str, Gathered]
) -> None:
    """Add the figures of one seed to every line."""
    truth, columns = ground.truth, ground.columns
    position = np.full(len(outcomes.models), -1)
    position[columns] = np.arange(len(columns))
    datasets = [outcomes.datasets[row] for row in ground.split.test[ground.complete]]
    choices: dict[str, NDArray[np.integer]] = {
        f"constant:{outcomes.models[column].name}": np.full((1, len(datasets)), m)
        for m, column in enumerate(columns)
    }
    choices["oracle"] = oracle.per_prompt(truth.scores, truth.costs)[None]
    choices["per-dataset-oracle"] = oracle.per_dataset(truth.scores, truth.costs, datasets)[None]
    validated: dict[str, figures.Validated] = {}
    for name, cell in cells.items():
        chosen = position[cell.choices[fleet]][:, ground.complete]
        fixed = not cell.learns and bool((chosen == chosen[:1]).all())
        choices[name] = chosen[-1:] if fixed else chosen
        lines[name].betas = None if fixed else cell.betas
        if ground.validation_rows.any():
            validated[name] = _validated(outcomes, ground, cell, fleet, fixed)
    curves = {name: figures.curve(truth, chosen, lines[name].betas) for name, chosen in choices.items()}
    single = curves["best-single"]
    bar = figures.Bar(
        accuracy=single.accuracy[-1],
        cost=single.cost[-1],
        validation_accuracy=float(validated["best-single"].accuracy[-1]) if validated else float("inf"),
        oracle=curves["oracle"].accuracy[0],
    )
    singles = figures.Curve(truth.single_accuracy, truth.single_cost, np.eye(len(columns)), None)
    far = figures.distances({name: curves[name] for name in cells}, singles)
    for name, points in curves.items():
        line = lines[name]
        line.sees_test = name in ("oracle", "per-dataset-oracle")
        found = dict(figures.area(points, truth.cost_range))
        found |= figures.last_point(truth, choices[name], points)
        found |= figures.against(points, bar, validated.get(name))
        if name in cells:
            found["pareto_dist"] = far[name]
            found |= _predicted(outcomes, ground, cells[name], line)
            line.learns, line.takes_new_models = cells[name].learns, cells[name].takes_new_models
            line.cells.append(cells[name])
            line.peaks.append(figures.peak(points, bar))
        line.correct.append((datasets, metrics.picked(truth.scores, choices[name][-1])))
        line.curves.append(_over_all_models(points, columns, len(outcomes.models)))
        line.figures.append(found)
        line.seeds.append(ground.split.seed)
    _measure_zero_router(truth, singles, ground.split.seed, lines["zero-router"])


def _over_all_models(points: figures.Curve, columns: NDArray[np.intp], models: int) -> figures.Curve:
    """The same curve with a share for every model of the data: left-out models differ from seed to seed."""
    share = np.zeros((len(points.share), models))
    share[:, columns] = points.share
    return replace(points, share=share)


def _measure_zero_router(truth: figures.Truth, singles: figures.Curve, seed: int, line: Gathered) -> None:
    """The hull of the single models in hindsight, drawn at even budgets over their range of costs."""
    low, high = truth.cost_range
    budgets = np.linspace(low, high, BUDGETS)
    if 0 < low < high:
        budgets = np.sort(np.concatenate([budgets, np.geomspace(low, high, BUDGETS)]))
    accuracy = frontier.accuracy_at(frontier.hull(singles.cost[:, 0], singles.accuracy[:, 0]), budgets)
    line.sees_test = True
    line.curves.append(
        figures.Curve(accuracy[:, None], budgets[:, None], np.zeros((len(budgets), 0)), regret=None)
    )
    line.figures.append(
        {
            **figures.area(singles, truth.cost_range),
            "accuracy": singles.accuracy.max(axis=0),
            "cost": singles.cost.max(axis=0),
        }
    )
    line.seeds.append(seed)


def _validated(
    outcomes: Outcomes, ground: Ground, cell: Cell, fleet: Fleet, fixed: bool
) -> figures.Validated:
    rows = ground.split.validation[ground.validation_rows]
    chosen = cell.validation[fleet][:, ground.validation_rows]
    chosen = chosen[-1:] if fixed else chosen
    return figures.Validated(
        metrics.picked(outcomes.scores[rows], chosen).mean(axis=1),
        metrics.picked(outcomes.costs[rows], chosen).mean(axis=1),
    )


def _predicted(outcomes: Outcomes, ground: Ground, cell: Cell, line: Gathered) -> Mapping[str, Floats]:
    """The prediction metrics, over every observed pair of the fleet."""
    predicted = cell.success[:, ground.columns].astype(np.float64)
    scores = outcomes.scores[np.ix_(ground.split.test, ground.columns)].astype(np.float64)
    line.quality.append((predicted, scores))
    return metrics.prediction_quality(predicted, scores, ground.weights[: QUALITY_REDRAWS + 1])
