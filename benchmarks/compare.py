"""`router-bench compare A B`: two results side by side, router by router, on the prompts that both were tested on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import figures, metrics, results, summary
from benchmarks.outcomes import OutcomesError
from benchmarks.parts import average, differences
from benchmarks.summary import Gathered

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from benchmarks.results import Results

    Key = tuple[str, str, str]

FIGURES = ("accuracy", "cost", "aiq", "hypervolume")
COLUMNS = ["data", "fleet", "router", "seed", "beta", "prompt_id", "score", "cost", "complete"]


@dataclass(frozen=True)
class Row:
    """One figure of one router under both: `difference` is the second less the first, with its paired interval."""

    data: str
    fleet: str
    router: str
    figure: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    prompts: int  # that both were tested on, all seeds together

    @property
    def is_sure(self) -> bool:
        """The interval leaves out 0."""
        return self.low > 0 or self.high < 0


def compare(first: Path, second: Path) -> list[Row]:
    """
    Figures of the routers that two OUT folders have in common, on their common test prompts, paired.

    AIQ and hypervolume take the cost range of the first. Raises `OutcomesError` when nothing can be paired.
    """
    ranges, other = _ranges(results.read(first)), _ranges(results.read(second))
    shared = [data for data in ranges if data in other]
    units = [data for data in shared if ranges[data][0] != other[data][0]]
    if units:
        raise OutcomesError(
            f"{units[0]}: one counts cost in {ranges[units[0]][0]}, the other in {other[units[0]][0]}"
        )
    tables = _decisions(first), _decisions(second)
    rows = []
    for key, mine in tables[0].items():
        theirs = tables[1].get(key)
        if theirs is not None and key[0] in shared:
            rows += _pair(key, mine, theirs, ranges[key[0]][1])
    if not rows:
        raise OutcomesError(
            f"{first} and {second} have no router with common test prompts: same data, split, seeds and test size?"
        )
    return rows


def _ranges(result: Results) -> dict[str, tuple[str, tuple[float, float]]]:
    """Unit and range of costs of each dataset."""
    found = {}
    for part in (result, *result.parts.values()):
        name, _, fleet = part.title.rpartition(", ")
        if fleet == "all models":
            found[name] = (part.cost_unit, part.cost_range)
    return found


def _decisions(path: Path) -> dict[Key, pd.DataFrame]:
    """The decisions by data, fleet and router, on prompts with an outcome of every model."""
    import pandas as pd

    file = (path if path.is_dir() else path.parent) / results.DECISIONS
    try:
        frame = pd.read_parquet(file, columns=COLUMNS)
    except OSError as error:
        raise OutcomesError(f"cannot be read, and is needed to pair decisions: {error}", file) from error
    whole = frame[frame["complete"]]
    groups = whole.groupby(["data", "fleet", "router"], observed=True, sort=False)
    return {(str(data), str(fleet), str(router)): part for (data, fleet, router), part in groups}


def _pair(key: Key, mine: pd.DataFrame, theirs: pd.DataFrame, cost_range: tuple[float, float]) -> list[Row]:
    seeds = sorted(set(mine["seed"]) & set(theirs["seed"]))
    common = {
        seed: sorted(
            set(mine.loc[mine["seed"] == seed, "prompt_id"])
            & set(theirs.loc[theirs["seed"] == seed, "prompt_id"])
        )
        for seed in seeds
    }
    common = {seed: prompts for seed, prompts in common.items() if prompts}
    if not common:
        return []
    names, index = np.unique(np.concatenate(list(common.values())), return_inverse=True)
    drawn = metrics.resamples(np.arange(len(names)), summary.REDRAWS, seed=0)
    weights = dict(
        zip(
            common,
            np.split(drawn[:, index], np.cumsum([len(p) for p in common.values()])[:-1], axis=1),
            strict=True,
        )
    )
    averaged = []
    for frame in (mine, theirs):
        line = Gathered()
        for seed, prompts in common.items():
            points = _curve(frame[frame["seed"] == seed], prompts, weights[seed])
            line.seeds.append(int(seed))
            line.curves.append(points)
            line.figures.append(
                {
                    "accuracy": points.accuracy[-1],
                    "cost": points.cost[-1],
                    **figures.area(points, cost_range),
                }
            )
        averaged.append(average(line))
    found = differences(averaged[1], averaged[0])
    return [
        Row(
            *key,
            figure=name,
            first=float(averaged[0].figures[name][0]),
            second=float(averaged[1].figures[name][0]),
            difference=found[name][0],
            low=found[name][1],
            high=found[name][2],
            prompts=sum(map(len, common.values())),
        )
        for name in FIGURES
        if name in found
    ]


def _curve(frame: pd.DataFrame, prompts: list[str], drawn: metrics.Floats) -> figures.Curve:
    """The curve of the decisions of one seed on some prompts."""
    weights = np.concatenate([np.ones((1, len(prompts))), drawn])
    by_beta = {
        name: frame.pivot_table(index="beta", columns="prompt_id", values=name, observed=True)[
            prompts
        ].to_numpy(float)
        for name in ("score", "cost")
    }  # (K, P)
    return figures.Curve(
        accuracy=metrics.weighted_mean(by_beta["score"], weights),
        cost=metrics.weighted_mean(by_beta["cost"], weights),
        share=np.zeros((len(by_beta["score"]), 0)),
        regret=None,
    )


def show(first: Path, second: Path, out: Path | None) -> None:
    """Print the comparison and, if asked to, write it as JSON; a failure is one message and exit status 1."""
    import json
    from dataclasses import asdict

    import typer
    from rich.console import Console
    from rich.table import Table

    try:
        rows = compare(first, second)
        if out is not None:
            out.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    except (OutcomesError, OSError) as error:
        typer.echo(f"router-bench: {error}", err=True)
        raise typer.Exit(1) from None
    table = Table(
        "",
        "figure",
        "A",
        "B",
        "B − A",
        "95%, paired",
        "",
        "prompts",
        box=None,
        title=f"A: {first}   B: {second}",
    )
    last = None
    for row in rows:
        label = f"{row.data} ({row.fleet}) {row.router}"
        table.add_row(
            "" if label == last else label,
            row.figure,
            f"{row.first:.4g}",
            f"{row.second:.4g}",
            f"{row.difference:+.4g}",
            f"{row.low:+.4g} … {row.high:+.4g}",
            "*" if row.is_sure else "",
            str(row.prompts),
        )
        last = label
    console = Console()
    console.print(table)
    console.print("* the interval leaves out 0")
