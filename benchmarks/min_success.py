"""`router-bench min-success`: whether `min_success` keeps its promise, replayed on real outcomes by the gateway's rule.

A router (V0) values the test prompts of a sweep's cell, which is made where it is not there yet. Traffic is made of
them, all in random order and over again until there are as many requests as asked for; each goes where the gateway's
rule sends it under its own `Bars`, and a share of the outcomes is fed back, each before the next request. Nothing but
the bar learns: of a prompt that comes again what was predicted at first is predicted again. Realised success should
land on the target wherever that lies between the cheapest and the best the router can do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import cells, sweep
from benchmarks.outcomes import OutcomesError
from benchmarks.settings import SettingsError, settings
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


class Candidates:
    """The models whose outcome on a prompt is known, as `decide` ranks them under a bar."""

    def __init__(self, traffic: Traffic, row: int) -> None:
        known = np.flatnonzero(~np.isnan(traffic.scores[row]))
        values = traffic.success[row, known]
        cheap_first = np.lexsort((-values, traffic.expected[known]))
        self._values, columns = values[cheap_first], known[cheap_first]
        self._best = int(np.lexsort((traffic.expected[columns], -self._values))[0]) if len(known) else -1
        self._outcomes = np.stack(
            [traffic.scores[row, columns], np.nan_to_num(traffic.costs[row, columns])], axis=1
        )

    def __len__(self) -> int:
        return len(self._values)

    def choose(self, bar: float) -> tuple[float, float, float]:
        """Of the cheapest that reaches the bar, else of the best: predicted success, score and cost."""
        reaching = np.flatnonzero(self._values >= bar)
        chosen = int(reaching[0]) if len(reaching) else self._best
        score, cost = self._outcomes[chosen]
        return float(self._values[chosen]), float(score), float(cost)


def replay(
    traffic: Traffic, target: float, feedback: float, seed: int, requests: int | None = None
) -> Landing:
    """All prompts in random order, again and again for as many `requests`; `feedback`: the share of outcomes known."""
    rng = np.random.default_rng(seed)
    prompts = [
        each for each in (Candidates(traffic, row) for row in range(len(traffic.success))) if len(each)
    ]
    rows = np.concatenate(
        [rng.permutation(len(prompts)) for _ in range(-(-(requests or len(prompts)) // len(prompts)))]
    )[: requests or len(prompts)]
    told = rng.random(len(rows)) < feedback
    literal = np.array([each.choose(target)[1:] for each in prompts])
    bars = Bars()
    moving = np.empty((len(rows), 2))
    for number, row in enumerate(rows):
        predicted, *outcome = prompts[row].choose(bars.bar(None, target))
        moving[number] = outcome
        bars.decided(None, target, predicted, str(number))
        if told[number]:
            bars.outcome(str(number), outcome[0])
    means = [*moving.mean(0), *literal[rows].mean(0)]
    return Landing(*map(float, means))


def reach(traffic: Traffic) -> tuple[float, float]:
    """Realised success of always the cheapest, and of always the best by prediction."""
    prompts = [
        each for each in (Candidates(traffic, row) for row in range(len(traffic.success))) if len(each)
    ]
    cheapest, best = (float(np.mean([each.choose(bar)[1] for each in prompts])) for bar in (0.0, 1.1))
    return cheapest, best


def run(options: dict[str, Any], targets: str, router: str, requests: int) -> None:
    """Replay every target on every dataset and print where it landed; a failure is a message and exit status 1."""
    console = Console()
    try:
        asked = [float(target) for target in targets.split(",")]
        chosen = settings({**options, "routers": router})
        for path in chosen.data:
            dataset = sweep.prepare(chosen, path)
            sweep.run(chosen, dataset, console)
            show(dataset, asked, router, requests, console)
    except (OutcomesError, SettingsError, ValueError, OSError) as error:
        typer.echo(f"router-bench: {error}", err=True)
        raise typer.Exit(FAILED) from None


def show(
    dataset: sweep.Dataset, targets: Sequence[float], router: str, requests: int, console: Console
) -> None:
    """
    A table a dataset: means over the seeds whose test prompts can reach the target, from always the cheapest to always
    the best, and how far from it the worst of them landed.
    """
    runs = [
        (task.split.seed, Traffic.of(dataset.outcomes, task.split, cells.load(task.path).success))
        for task in dataset.finished
        if task.router == router
    ]
    ends = [reach(traffic) for _, traffic in runs]
    low, high = np.mean(ends, axis=0)
    prompts = sum(len(traffic.success) for _, traffic in runs)
    columns = (
        "target",
        "seeds",
        "feedback",
        "success",
        "off at most",
        "cost",
        "bar at the target",
        "its cost",
    )
    table = Table(
        *columns,
        title=f"{dataset.outcomes.name}: {router}, {len(runs)} seeds of {requests} requests, {prompts} prompts; "
        f"cheapest {low:.3f}, best {high:.3f}",
        box=None,
        title_justify="left",
    )
    for target in targets:
        reached = [run for run, (least, most) in zip(runs, ends, strict=True) if least <= target <= most]
        if not reached:
            table.add_row(f"{target:g}", "0", "out of reach")
            continue
        for feedback in FEEDBACK:
            landings = [replay(traffic, target, feedback, seed, requests) for seed, traffic in reached]
            off = max((each.success - target for each in landings), key=abs)
            mean = [np.mean([getattr(each, f) for each in landings]) for f in Landing.__dataclass_fields__]
            table.add_row(
                f"{target:g}",
                str(len(reached)),
                f"{feedback:.0%}",
                f"{mean[0]:.3f}",
                f"{off:+.3f}",
                f"{mean[1]:.3g}",
                f"{mean[2]:.3f}",
                f"{mean[3]:.3g}",
            )
    console.print(table)
