"""Figures into results.json: means over seeds (and datasets), intervals, paired differences to V0."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import metrics, results

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from benchmarks.outcomes import Outcomes
    from benchmarks.summary import Gathered, Ground

    Floats = NDArray[np.float64]

V0_ORDER = ("v0-1024", "v0-all", "v0-256")  # the shipped gateway's context size first
PAIRED = (
    "accuracy", "cost", "aiq", "hypervolume", "pareto_dist", "perf_gain", "cost_save", "gap_closed", "regret",
    "model_recall", "auc", "pairwise", "mse", "ece",
)  # fmt: skip


@dataclass(frozen=True)
class Averaged:
    """One line's means over the seeds: row 0 of each figure is the mean, the others are its redraws."""

    accuracy: Floats  # (K, R)
    cost: Floats  # (K, R)
    share: Floats  # (K, M)
    regret: Floats | None  # (K,)
    figures: Mapping[str, Floats]  # (R,) each
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Measured:
    """Every line of one fleet of one dataset."""

    title: str
    outcomes: Outcomes
    lines: Mapping[str, Gathered]
    averaged: Mapping[str, Averaged]
    grounds: Sequence[Ground]


def average(line: Gathered, seed: int = 0) -> Averaged:
    """
    Means over the seeds. A redraw draws prompts, the same in every line, and then seeds, with replacement.

    A figure that is missing under one seed has no mean.
    """
    count = len(line.seeds)
    rng = np.random.default_rng([seed, *line.seeds])
    redraws = line.curves[0].accuracy.shape[1] - 1
    share = np.concatenate(
        [np.full((1, count), 1.0), rng.multinomial(count, np.full(count, 1 / count), size=redraws)]
    )
    share = share / count  # (R, seeds)

    def mean(arrays: Sequence[Floats]) -> Floats:
        stacked = np.stack(arrays)  # (seeds, ..., R)
        weights = share[: stacked.shape[-1]]
        # a seed that is not drawn does not count, even if it has no figure
        known = np.where(weights.T.reshape(count, *[1] * (stacked.ndim - 2), -1) > 0, stacked, 0.0)
        return np.einsum("s...r,rs->...r", known, weights)

    regrets = [points.regret[:, 0] for points in line.curves if points.regret is not None]
    return Averaged(
        accuracy=mean([points.accuracy for points in line.curves]),
        cost=mean([points.cost for points in line.curves]),
        share=np.mean([points.share for points in line.curves], axis=0),
        regret=np.mean(regrets, axis=0) if regrets else None,
        figures={name: mean([each[name] for each in line.figures]) for name in line.figures[0]},
        seeds=tuple(line.seeds),
    )


def measure(
    title: str, outcomes: Outcomes, lines: Mapping[str, Gathered], grounds: Sequence[Ground]
) -> Measured:
    """One fleet of one dataset, averaged over its seeds."""
    return Measured(title, outcomes, lines, {name: average(line) for name, line in lines.items()}, grounds)


def to_part(measured: Measured) -> results.Part:
    """One part of results.json from the lines of one fleet."""
    names, grounds = measured.outcomes.model_names, measured.grounds
    left_out = sum(int((~ground.complete).sum()) for ground in grounds)
    gap = results.Excluded(
        what="test prompts",
        why="no outcome of some model of the fleet: not routed, but in the prediction metrics (all seeds)",
        count=left_out,
    )
    low, high = np.mean([ground.truth.cost_range for ground in grounds], axis=0)
    in_fleet = sorted({int(column) for ground in grounds for column in ground.columns})
    return results.Part(
        title=measured.title,
        fleet=[names[column] for column in in_fleet],
        cost_kind=measured.outcomes.cost_kind,
        cost_unit=cost_unit(measured.outcomes.cost_kind),
        cost_range=(float(low), float(high)),
        test_prompts=[int(ground.complete.sum()) for ground in grounds],
        few_solve=[int(metrics.few_solve(ground.truth.scores).sum()) for ground in grounds],
        exclusions=[gap] if left_out else [],
        **_entries(measured.lines, measured.averaged, names),
    )


def mean_part(title: str, several: Mapping[str, Measured]) -> results.Part:
    """
    Means over datasets, each counting the same: of the lines that have the same seeds in all of them.

    Costs become shares of the dearest single model's mean cost.
    """
    first = next(iter(several.values()))
    lines: dict[str, Gathered] = {}
    averaged: dict[str, Averaged] = {}
    for name in first.lines:
        of_all = [measured.lines.get(name) for measured in several.values()]
        alike = [line for line in of_all if line is not None and line.seeds == first.lines[name].seeds]
        points = {
            measured.averaged[name].accuracy.shape for measured in several.values() if name in measured.lines
        }
        if len(alike) == len(several) and len(points) == 1:
            lines[name] = _merged(dict(zip(several, alike, strict=True)))
            averaged[name] = _mean_over([_relative(measured, name) for measured in several.values()])
    fleet = sorted({model for measured in several.values() for model in measured.outcomes.model_names})
    return results.Part(
        title=title,
        fleet=fleet,
        cost_kind="relative",
        cost_unit="share of the dearest model's mean cost",
        cost_range=(0.0, 1.0),
        test_prompts=[sum(int(g.complete.sum()) for m in several.values() for g in m.grounds)],
        few_solve=[
            sum(int(metrics.few_solve(g.truth.scores).sum()) for m in several.values() for g in m.grounds)
        ],
        **_entries(lines, averaged, []),
    )


def choose_v0(names: Sequence[str]) -> str | None:
    """The V0 that the others are compared with."""
    present = [name for name in V0_ORDER if name in names]
    present += [name for name in names if name.startswith("v0")]
    return present[0] if present else None


def cost_unit(cost_kind: str) -> str:
    """What a cost is counted in."""
    return {
        "recorded": "USD a prompt",
        "tokens x price": "USD a prompt",
        "parameter ratio x tokens": "tokens of the largest model",
        "parameter ratio": "share of the largest model's parameters",
    }.get(cost_kind, "none")


def differences(line: Averaged, reference: Averaged) -> dict[str, tuple[float, float, float]]:
    """A line less another, paired by prompt and seed: mean, low, high of each figure. Only over the same seeds."""
    if line.seeds != reference.seeds:
        return {}
    found = {}
    for name in PAIRED:
        if name in line.figures and name in reference.figures:
            own, other = line.figures[name], reference.figures[name]
            low, high = metrics.paired_difference(own[1:], other[1:])
            mean = float(own[0] - other[0])
            if np.isfinite([mean, low, high]).all():
                found[name] = (mean, low, high)
    return found


def _entries(
    lines: Mapping[str, Gathered], averaged: Mapping[str, Averaged], names: Sequence[str]
) -> dict[str, Any]:
    v0 = choose_v0([name for name, line in lines.items() if line.learns])
    entries = {
        name: _entry(line, averaged[name], None if v0 in (None, name) else averaged[v0 or ""], names)
        for name, line in lines.items()
    }
    return {
        "v0": v0,
        "routers": {name: entry for name, entry in entries.items() if lines[name].learns},
        "references": {name: entry for name, entry in entries.items() if not lines[name].learns},
    }


def _entry(
    line: Gathered, averaged: Averaged, v0: Averaged | None, names: Sequence[str]
) -> results.RouterResult:
    found: dict[str, Any] = {
        name: results.known(float(figure[0])) for name, figure in averaged.figures.items()
    }
    ends = {
        name: results.known_interval(metrics.interval(figure[1:]))
        for name, figure in averaged.figures.items()
        if found[name] is not None
    }
    introduced = [cell for cell in line.cells if cell.new_models_s is not None]
    return results.RouterResult(
        learns=line.learns,
        takes_new_models=line.takes_new_models,
        sees_test=line.sees_test,
        points=_points(line, averaged, names),
        decide_us=_mean([cell.decide_us for cell in line.cells]),
        fit_s=_mean([cell.fit_s for cell in line.cells]),
        peak_mb=max((cell.peak_mb for cell in line.cells), default=None),
        new_models=results.NewModels(
            seconds=float(np.mean([cell.new_models_s for cell in introduced])),
            outcomes=introduced[0].context_size,
            refitted=introduced[0].refitted,
        )
        if introduced
        else None,
        intervals={name: pair for name, pair in ends.items() if pair is not None},
        to_v0={} if v0 is None else differences(averaged, v0),
        by_seed={
            name: [results.known(float(each[name][0])) for each in line.figures] for name in line.figures[0]
        },
        peak=None
        if not line.peaks
        else results.Peak(
            perf_gain=results.known(float(np.mean([gain for gain, _ in line.peaks]))),
            cost_save=results.known(float(np.mean([save for _, save in line.peaks]))),
        ),
        by_dataset=_by_dataset(line),
        calibration=_calibration(line),
        seeds=list(line.seeds),
        **found,
    )


def _points(line: Gathered, averaged: Averaged, names: Sequence[str]) -> list[results.Point]:
    betas = [None] * len(averaged.accuracy) if line.betas is None else list(line.betas)
    return [
        results.Point(
            beta=beta,
            accuracy=float(averaged.accuracy[k, 0]),
            accuracy_interval=results.known_interval(metrics.interval(averaged.accuracy[k, 1:])),
            cost=float(averaged.cost[k, 0]),
            cost_interval=results.known_interval(metrics.interval(averaged.cost[k, 1:])),
            regret=None if averaged.regret is None else float(averaged.regret[k]),
            share={
                name: float(share) for name, share in zip(names, averaged.share[k], strict=False) if share > 0
            },
        )
        for k, beta in enumerate(betas)
    ]


def _by_dataset(line: Gathered) -> dict[str, float]:
    """Accuracy at the largest β on each dataset, its prompts under every seed together."""
    scores: dict[str, list[float]] = defaultdict(list)
    for datasets, correct in line.correct:
        for name, score in zip(datasets, correct, strict=True):
            scores[name].append(float(score))
    return {name: float(np.mean(scores[name])) for name in sorted(scores)}


def _calibration(line: Gathered) -> list[results.Bin]:
    if not line.quality:
        return []
    predicted = np.concatenate([values.ravel() for values, _ in line.quality])
    scores = np.concatenate([outcomes.ravel() for _, outcomes in line.quality])
    return [results.Bin(**vars(each)) for each in metrics.calibration(predicted, scores)]


def _merged(lines: Mapping[str, Gathered]) -> Gathered:
    """One line over several datasets: what it met, together; its figures under each seed, averaged."""
    first = next(iter(lines.values()))
    shared = set.intersection(*(set(line.figures[0]) for line in lines.values()))
    return replace(
        first,
        figures=[
            {name: np.mean([line.figures[s][name] for line in lines.values()], axis=0) for name in shared}
            for s in range(len(first.seeds))
        ],
        peaks=[pair for line in lines.values() for pair in line.peaks],
        cells=[cell for line in lines.values() for cell in line.cells],
        correct=[
            ([data] * len(scores), scores) for data, line in lines.items() for _, scores in line.correct
        ],
        quality=[pair for line in lines.values() for pair in line.quality],
    )


def _relative(measured: Measured, name: str) -> Averaged:
    """Costs over that of the dearest single model."""
    averaged = measured.averaged[name]
    dearest = float(np.mean([ground.truth.cost_range[1] for ground in measured.grounds]))
    unit = dearest if dearest > 0 else 1.0
    figures = {**averaged.figures, "cost": averaged.figures["cost"] / unit}
    return replace(averaged, cost=averaged.cost / unit, figures=figures)


def _mean_over(several: Sequence[Averaged]) -> Averaged:
    """The mean of independent datasets, redraw by redraw."""
    shared = set.intersection(*(set(averaged.figures) for averaged in several))
    regrets = [averaged.regret for averaged in several if averaged.regret is not None]
    return Averaged(
        accuracy=np.mean([averaged.accuracy for averaged in several], axis=0),
        cost=np.mean([averaged.cost for averaged in several], axis=0),
        share=np.zeros((several[0].accuracy.shape[0], 0)),
        regret=np.mean(regrets, axis=0) if len(regrets) == len(several) else None,
        figures={name: np.mean([each.figures[name] for each in several], axis=0) for name in shared},
        seeds=several[0].seeds,
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
