"""`router-bench schedule-map`: where fusing a prior with rollouts helps and where it hurts, by prior, p and k.

Nothing is sampled: with rewards of ±1 what a rule does depends on the number of successes alone, so every expectation
is a sum over the ways in which rounds can go. The baseline's mean squared error is set against the group mean's of the
same start, 4p(1 − p)/k, and of as many rollouts as the rule took on average.
"""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binom

from router.schedule.fusion import SIGNED, Rule, Shrinkage
from router.schedule.robust import RobustMixture
from router.schedule.rounds import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STARTS = (4, 8, 16)
CELLS = 40  # of success rates and of predictions, both from 0 to 1
MIDDLE = 0.1, 0.9  # success rates where the group mean's error is not next to nothing
SHOWN = 3.0  # the largest |log2| of a ratio that has a colour of its own


@dataclass(frozen=True)
class Line:
    """What is expected of one rule from one start, for predictions (Q,) by success rates (P,)."""

    name: str
    start: int
    predicted: Floats
    rates: Floats
    mse: Floats  # (Q, P) of the baseline, rewards of ±1
    rollouts: Floats  # (Q, P)

    @property
    def errors(self) -> Floats:
        """Prediction less success rate, (Q, P)."""
        return self.predicted[:, None] - self.rates

    def group_mse(self, rollouts: Floats | int) -> Floats:
        """Of the mean of so many rollouts."""
        return np.broadcast_to(4 * self.rates * (1 - self.rates), self.mse.shape) / rollouts


@dataclass(frozen=True)
class Summary:
    """One rule from one start where the prior is off by so much, either way, over all success rates."""

    name: str
    start: int
    error: float
    ratio: float  # Σ of the baseline's squared errors over Σ of the group mean's at the start
    worst: float  # of the ratios at one success rate in MIDDLE; NaN where there is none
    worst_anywhere: float
    rollouts: float
    ratio_at_equal_rollouts: float


def variants(start: int) -> dict[str, tuple[Rule, Limits]]:
    """The rules of the map, by name: from 4, `V0.5` and `mixture` are what `rounds.start` does unless told."""
    few, cap = 4 * start, 6 * start
    once, limits = Limits(start, cap=cap, rounds=1), Limits(start, cap=cap)
    fusion, mixture = Shrinkage(cap**-2.0), RobustMixture(cost=few**-2.0)
    return {
        "fusion alone": (fusion, once),
        "V0.5": (fusion, limits),
        "V0.5, fewer": (Shrinkage(few**-2.0), Limits(start, cap=few)),
        "mixture alone": (mixture, once),
        "mixture": (mixture, limits),
    }


def expected(rule: Rule, limits: Limits, predicted: float, rates: Floats) -> tuple[Floats, Floats]:
    """The baseline's mean squared error and the rollouts, exactly, for each of the success rates (P,)."""
    prior, truth = rule.rewards.mean_at(predicted), rule.rewards.mean_at(rates)[:, None]
    mse, rollouts = np.zeros(len(rates)), np.zeros(len(rates))
    opening = binom.pmf(np.arange(limits.start + 1), limits.start, rates[:, None])
    states = {(1, limits.start): opening}  # by round and rollouts: (P, successes)
    while states:
        report, count = min(states)
        chances = states.pop((report, count))
        mean = rule.rewards.mean_at(np.arange(count + 1) / count)
        counts = np.full(count + 1, count)
        more = limits.more(rule.wanted(mean, prior, counts), counts)
        if report == limits.rounds:
            more = np.zeros_like(more)
        error = (rule.baseline(mean, prior, counts) - truth) ** 2
        mse += (chances * error)[:, more == 0].sum(axis=1)
        rollouts += count * chances[:, more == 0].sum(axis=1)
        for extra in np.unique(more[more > 0]).tolist():
            coming = binom.pmf(np.arange(extra + 1), extra, rates[:, None])
            key = report + 1, count + extra
            later = states.setdefault(key, np.zeros((len(rates), count + extra + 1)))
            for successes in np.flatnonzero(more == extra):
                later[:, successes : successes + extra + 1] += chances[:, successes, None] * coming
    return mse, rollouts


def draw_map(starts: Sequence[int] = STARTS, cells: int = CELLS) -> list[Line]:
    """Every variant from every start."""
    predicted = np.arange(cells + 1) / cells
    rates = predicted[1:-1]  # at the ends the group mean is exact
    lines = []
    for start in starts:
        for name, (rule, limits) in variants(start).items():
            found = np.array([expected(rule, limits, float(one), rates) for one in predicted])
            lines.append(Line(name, start, predicted, rates, found[:, 0], found[:, 1]))
    return lines


def summarise(line: Line) -> list[Summary]:
    """By size of the prior's error, in the steps of the map."""
    step = line.predicted[1]
    sizes = np.rint(np.abs(line.errors) / step).astype(int)
    group = line.group_mse(line.start)
    equal = line.group_mse(line.rollouts)
    ratio = line.mse / group
    middle = (line.rates > MIDDLE[0] - step / 2) & (line.rates < MIDDLE[1] + step / 2)
    found = []
    for size in range(int(sizes.max()) + 1):
        of_size = sizes == size
        in_middle = ratio[of_size & middle]
        found.append(
            Summary(
                name=line.name,
                start=line.start,
                error=round(float(size * step), 9),
                ratio=float(line.mse[of_size].sum() / group[of_size].sum()),
                worst=float(in_middle.max()) if in_middle.size else float("nan"),
                worst_anywhere=float(ratio[of_size].max()),
                rollouts=float(line.rollouts[of_size].mean()),
                ratio_at_equal_rollouts=float(line.mse[of_size].sum() / equal[of_size].sum()),
            )
        )
    return found


def write(lines: Sequence[Line], folder: Path) -> dict[str, list[Summary]]:
    """map.csv with every cell, map.json with the summaries, map.png and safeguard.png."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "map.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["rule", "start", "predicted", "rate", "mse", "group_mse", "rollouts"])
        for line in lines:
            group = line.group_mse(line.start)
            for (q, p), mse in np.ndenumerate(line.mse):
                figures = line.predicted[q], line.rates[p], mse, group[q, p], line.rollouts[q, p]
                writer.writerow([line.name, line.start, *(f"{one:.6g}" for one in figures)])
    summaries: dict[str, list[Summary]] = defaultdict(list)
    for line in lines:
        summaries[line.name] += summarise(line)
    rules = {
        f"{name} from {start}": f"{rule}, {limits}"
        for start in sorted({line.start for line in lines})
        for name, (rule, limits) in variants(start).items()
    }
    entries = [
        {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(summary).items()
        }
        for of_rule in summaries.values()
        for summary in of_rule
    ]
    (folder / "map.json").write_text(
        json.dumps(
            {"schema_version": 1, "rewards": asdict(SIGNED), "rules": rules, "summaries": entries}, indent=1
        )
    )
    _heat_maps(lines).savefig(folder / "map.png", dpi=110)
    _curves(summaries, min(line.start for line in lines)).savefig(folder / "safeguard.png", dpi=110)
    return summaries


def run(folder: Path) -> None:
    """Draw the map into `folder` and print what it says of the smallest start."""
    from rich.console import Console
    from rich.table import Table

    summaries = write(draw_map(), folder)
    table = Table(title=f"MSE of the baseline / of the group mean, start {STARTS[0]} (rollouts)")
    table.add_column("prior off by")
    for name in summaries:
        table.add_column(name, justify="right")
    shown = [[one for one in of_rule if one.start == STARTS[0]] for of_rule in summaries.values()]
    for row in list(zip(*shown, strict=True))[::4]:
        table.add_row(f"{row[0].error:g}", *(f"{one.ratio:.2f} ({one.rollouts:.1f})" for one in row))
    console = Console()
    console.print(table)
    console.print(f"{folder}: map.csv, map.json, map.png, safeguard.png", highlight=False)


def _figure(width: float, height: float) -> Any:
    """A figure without any window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _heat_maps(lines: Sequence[Line]) -> Any:
    """A row for each rule, a column for each start: true p across, the prior's error upwards."""
    names, starts = list(dict.fromkeys(x.name for x in lines)), sorted({x.start for x in lines})
    figure = _figure(3.2 * len(starts) + 1, 2.4 * len(names))
    grid = figure.subplots(len(names), len(starts), sharex=True, sharey=True, squeeze=False)
    image = None
    for line in lines:
        axes = grid[names.index(line.name), starts.index(line.start)]
        rates = np.broadcast_to(line.rates, line.mse.shape)
        ratio = np.log2(line.mse / line.group_mse(line.start))
        image = axes.pcolormesh(
            rates, line.errors, ratio, cmap="RdBu_r", vmin=-SHOWN, vmax=SHOWN, shading="nearest"
        )
        axes.axhline(0, color="#555555", linewidth=0.5)
        axes.set_title(f"{line.name}, k = {line.start}", loc="left", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("true success rate p")
    for axes in grid[:, 0]:
        axes.set_ylabel("prior − p")
    bar = figure.colorbar(image, ax=grid, extend="both", shrink=0.4)
    bar.set_label("baseline MSE / group mean's at k")
    marks = np.arange(-SHOWN, SHOWN + 1)
    bar.set_ticks(marks, labels=[f"{2.0**mark:g}×" for mark in marks])
    return figure


def _curves(summaries: Mapping[str, Sequence[Summary]], start: int) -> Any:
    """Ratio and rollouts by the size of the prior's error, from one start."""
    from benchmarks.plots import OKABE_ITO

    figure = _figure(10, 4)
    left, right = figure.subplots(1, 2)
    for colour, (name, of_rule) in zip(OKABE_ITO, summaries.items(), strict=False):
        given = [one for one in of_rule if one.start == start]
        errors = [one.error for one in given]
        left.plot(errors, [one.ratio for one in given], color=colour, label=name)
        right.plot(errors, [one.rollouts for one in given], color=colour)
    for level in (0.5, 1.1):
        left.axhline(level, color="#999999", linewidth=0.8, linestyle="--")
    left.set_ylabel(f"baseline MSE / group mean's at k = {start}, all p")
    right.set_ylabel("rollouts a prompt")
    for axes in (left, right):
        axes.set_xlabel("|prior − p|")
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    left.legend(frameon=False, fontsize=8)
    return figure
