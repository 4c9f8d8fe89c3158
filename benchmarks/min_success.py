"""`router-bench min-success`: whether `min_success` keeps its promise, replayed on real outcomes by the gateway's rule.

A router (V0) values the test prompts of a sweep's cell, which is made where it is not there yet. Then the prompts come
in random order; for each the gateway's own `decide` chooses under its own `Bars`, and a share of the outcomes is fed
back. Realised success should land on the target wherever that lies between the cheapest and the best the router can do.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import cells, sweep
from benchmarks.outcomes import OutcomesError
from benchmarks.settings import SettingsError, settings
from router.decide import decide
from router.knobs import Bars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.outcomes import Outcomes
    from benchmarks.splits import Split

ROUTER = "v0-1024"
FEEDBACK = (0.0, 0.1, 1.0)
FAILED = 1


@dataclass(frozen=True)
class Traffic:
    """T prompts by M models: what was predicted, what happened (NaN: not observed), and what each costs."""

    names: list[str]
    success: NDArray[np.float64]  # (T, M) predicted
    scores: NDArray[np.float64]  # (T, M) realised
    expected: NDArray[np.float64]  # (M,) mean cost on the training part
    costs: NDArray[np.float64]  # (T, M) realised
    scale: float

    @classmethod
    def of(cls, outcomes: Outcomes, split: Split, success: NDArray[np.float32]) -> Traffic:
        """The test part of a split, with a router's predictions of it."""
        test, train = outcomes.take(split.test), outcomes.take(split.train)
        with np.errstate(all="ignore"):
            expected = np.nan_to_num(np.nanmean(train.costs, axis=0))
        return cls(
            outcomes.model_names,
            success.astype(np.float64),
            test.scores.astype(np.float64),
            expected,
            test.costs,
            float(expected.max(initial=0.0)),
        )


@dataclass(frozen=True)
class Landing:
    """Where a target landed: means over the requests."""

    success: float
    cost: float
    literal_success: float  # with a bar that stays at the target
    literal_cost: float


def replay(traffic: Traffic, target: float, feedback: float, seed: int) -> Landing:
    """All prompts in random order; `feedback` is the share of outcomes that come back, each before the next request."""
    rng = Random(seed)
    order = list(range(len(traffic.success)))
    rng.shuffle(order)
    bars = Bars()
    moving: list[tuple[float, float]] = []
    literal: list[tuple[float, float]] = []
    for row in order:
        values, costs = _candidates(traffic, row)
        if not values:
            continue
        chosen = _choose(traffic, values, costs, bars.bar(None, target))
        score, cost = _outcome(traffic, row, chosen)
        bars.decided(None, target, values[chosen], str(row))
        if rng.random() < feedback:
            bars.outcome(str(row), score)
        moving.append((score, cost))
        literal.append(_outcome(traffic, row, _choose(traffic, values, costs, target)))
    means = [*np.mean(moving, axis=0), *np.mean(literal, axis=0)]
    return Landing(*map(float, means))


def reach(traffic: Traffic) -> tuple[float, float]:
    """Realised success of always the cheapest, and of always the best by prediction."""
    ends: list[list[float]] = [[], []]
    for row in range(len(traffic.success)):
        values, costs = _candidates(traffic, row)
        for end, bar in zip(ends, (0.0, 1.1), strict=True):
            if values:
                end.append(_outcome(traffic, row, _choose(traffic, values, costs, bar))[0])
    return float(np.mean(ends[0])), float(np.mean(ends[1]))


def _candidates(traffic: Traffic, row: int) -> tuple[dict[str, float], dict[str, float]]:
    """Predicted success and expected cost of the models whose outcome on this prompt is known."""
    known = [column for column in range(len(traffic.names)) if not np.isnan(traffic.scores[row, column])]
    values = {traffic.names[column]: float(traffic.success[row, column]) for column in known}
    return values, {traffic.names[column]: float(traffic.expected[column]) for column in known}


def _choose(traffic: Traffic, values: dict[str, float], costs: dict[str, float], bar: float) -> str:
    return decide(values, costs, {}, 1.0, 0.0, Random(0), cost_scale=traffic.scale, bar=bar).chosen


def _outcome(traffic: Traffic, row: int, name: str) -> tuple[float, float]:
    column = traffic.names.index(name)
    return float(traffic.scores[row, column]), float(np.nan_to_num(traffic.costs[row, column]))


def run(options: dict[str, Any], targets: str, router: str) -> None:
    """Replay every target on every dataset and print where it landed; a failure is a message and exit status 1."""
    console = Console()
    try:
        asked = [float(target) for target in targets.split(",")]
        chosen = settings({**options, "routers": router})
        for path in chosen.data:
            dataset = sweep.prepare(chosen, path)
            sweep.run(chosen, dataset, console)
            show(dataset, asked, router, console)
    except (OutcomesError, SettingsError, ValueError, OSError) as error:
        typer.echo(f"router-bench: {error}", err=True)
        raise typer.Exit(FAILED) from None


def show(dataset: sweep.Dataset, targets: Sequence[float], router: str, console: Console) -> None:
    """A table a dataset: its seeds' means, and how far from the target each landed at most."""
    runs = [
        (task.split.seed, Traffic.of(dataset.outcomes, task.split, cells.load(task.path).success))
        for task in dataset.finished
        if task.router == router
    ]
    low, high = np.mean([reach(traffic) for _, traffic in runs], axis=0)
    requests = sum(len(traffic.success) for _, traffic in runs)
    table = Table(
        "target",
        "feedback",
        "success",
        "off at most",
        "cost",
        "bar at the target",
        "its cost",
        title=f"{dataset.outcomes.name}: {router}, {requests} requests in {len(runs)} seeds; "
        f"cheapest {low:.3f}, best {high:.3f}",
        box=None,
        title_justify="left",
    )
    for target in targets:
        for feedback in FEEDBACK:
            landings = [replay(traffic, target, feedback, seed) for seed, traffic in runs]
            off = max((each.success - target for each in landings), key=abs)
            mean = [np.mean([getattr(each, f) for each in landings]) for f in Landing.__dataclass_fields__]
            reached = "" if low <= target <= high else " (out of reach)"
            table.add_row(
                f"{target:g}{reached}",
                f"{feedback:.0%}",
                f"{mean[0]:.3f}",
                f"{off:+.3f}",
                f"{mean[1]:.3g}",
                f"{mean[2]:.3f}",
                f"{mean[3]:.3g}",
            )
    console.print(table)
