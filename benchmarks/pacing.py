"""
`router-bench pacing`: whether a paced key's month lands on its budget, replayed on real outcomes by the gateway's rule.

A router values the test prompts of a sweep's cell, which is made where it is not there yet. Then a month of requests
is made of them, drawn again and again, more by day and on weekdays; for each, the gateway's own `Admission` gives β and
its own `decide` chooses, and what is spent is the recorded cost of the chosen model on that prompt. A budget can be
landed on between the cheapest and the dearest month; beside it stands what one fixed β would have bought for as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import cells, sweep
from benchmarks.min_success import FAILED, Traffic
from benchmarks.outcomes import OutcomesError
from benchmarks.settings import SettingsError, settings
from router.decide import decide
from router.keys.account import Account, Admission, Clock
from router.keys.limits import Limits
from router.keys.spending import DAY_S, Sum, day_of
from router.store.rows import KeyRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.decide import Decision

BEGIN = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
DAYS = 31
WEEKEND = 0.3  # of a weekday's requests
HISTORY_DAYS = 28
BETAS = np.linspace(0.0, 1.0, 21)


@dataclass(frozen=True)
class Month:
    """N requests: when they come (Unix seconds, rising), and which prompt each is."""

    times: NDArray[np.float64]
    rows: NDArray[np.intp]


@dataclass(frozen=True)
class Landed:
    """A paced month: what it spent (USD) and its mean success, and the success that a fixed β buys for as much."""

    spent: float
    success: float
    fixed_success: float


def month_of(traffic: Traffic, requests: int, seed: int, surge: float = 1.0) -> Month:
    """A month of about so many requests; `surge`: how many times as many come in its second half."""
    rng = np.random.default_rng(seed)
    weights = np.array(
        [_weight(BEGIN + day * DAY_S) * (surge if day > DAYS // 2 else 1) for day in range(DAYS)]
    )
    hours = 1 - 0.9 * np.cos(np.arange(24) / 24 * 2 * np.pi)
    times: list[float] = []
    for day, number in enumerate(rng.poisson(requests * weights / weights.sum())):
        drawn = rng.choice(24, number, p=hours / hours.sum()) * 3600 + rng.uniform(0, 3600, number)
        times += list(BEGIN + day * DAY_S + np.sort(drawn))
    return Month(np.array(times), rng.integers(len(traffic.success), size=len(times)))


def pace(traffic: Traffic, month: Month, budget: float, seed: int, *, history: bool = True) -> Landed:
    """Spend a month under a budget. Without `history` the key is new: nothing is known of its days."""
    now = BEGIN
    account = Account(KeyRow(1, "paced", BEGIN, limits=Limits(month_usd=budget, pace=True)))
    account.pacer.rng = Random(seed)
    if history:
        usual = len(month.times) / sum(_weight(BEGIN + day * DAY_S) for day in range(DAYS))
        account.spending.stored = {
            day_of(BEGIN) - back: Sum(round(usual * _weight(BEGIN - back * DAY_S)))
            for back in range(1, HISTORY_DAYS + 1)
        }
    clock = Clock(lambda: now, lambda: now)
    spent, scores = 0.0, []
    for at, row in zip(month.times, month.rows, strict=True):
        now = float(at)
        admission = Admission(account, clock)
        beta = admission.paced_beta()
        decision = _decide(traffic, row, 0.5 if beta is None else beta)
        expected = admission.decided(decision, traffic.scale)
        score, cost = _outcome(traffic, row, decision.chosen)
        admission.settle(Sum(1, 0, 0, cost), now)
        admission.paid(expected, cost, answered=True)
        spent += cost
        scores.append(score)
    return Landed(spent, float(np.mean(scores)), _fixed(traffic, month, spent))


def reach(traffic: Traffic, month: Month) -> tuple[float, float]:
    """What the month costs at β = 0 and at β = 1, in USD."""
    cheapest, dearest = (float(_at(traffic, month, beta)[:, 1].sum()) for beta in (0.0, 1.0))
    return cheapest, dearest


def run(options: dict[str, Any], router: str, requests: int) -> None:
    """Replay every dataset and print where it landed; a failure is a message and exit status 1."""
    console = Console()
    try:
        chosen = settings({**options, "routers": router})
        for path in chosen.data:
            dataset = sweep.prepare(chosen, path)
            sweep.run(chosen, dataset, console)
            for task in dataset.finished:
                if task.router == router:
                    predicted = cells.load(task.path).success
                    traffic = Traffic.of(dataset.outcomes, task.split, predicted)
                    show(dataset.outcomes.name, traffic, requests, task.split.seed, console)
    except (OutcomesError, SettingsError, ValueError, OSError) as error:
        typer.echo(f"router-bench: {error}", err=True)
        raise typer.Exit(FAILED) from None


def show(name: str, traffic: Traffic, requests: int, seed: int, console: Console) -> None:
    """A table: budgets between the cheapest and the dearest month, each landed in three kinds of month."""
    table = Table(
        *("budget USD", "month", "spent", "off", "success", "one β for as much"),
        title=f"{name}, seed {seed}: about {requests} requests",
        box=None,
        title_justify="left",
    )
    kinds = (
        ("usual", True, 1.0),
        ("first of a new key", False, 1.0),
        ("twice as many from its half", True, 2.0),
    )
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        for kind, history, surge in kinds:
            month = month_of(traffic, requests, seed, surge)
            low, high = reach(traffic, month)
            budget = low + share * (high - low)
            landed = pace(traffic, month, budget, seed, history=history)
            off = landed.spent / budget - 1
            table.add_row(
                f"{budget:.4g}", kind, f"{landed.spent:.4g}", f"{off:+.2%}",
                f"{landed.success:.3f}", f"{landed.fixed_success:.3f}",
            )  # fmt: skip
    console.print(table)


def _fixed(traffic: Traffic, month: Month, spent: float) -> float:
    """The success that fixed values of β reach for so much money, between those that cost less and more."""
    points = [_at(traffic, month, beta) for beta in BETAS]
    costs = np.maximum.accumulate([point[:, 1].sum() for point in points])
    return float(np.interp(spent, costs, [point[:, 0].mean() for point in points]))


def _at(traffic: Traffic, month: Month, beta: float) -> NDArray[np.float64]:
    """Every request's score and cost at one β, (N, 2): `decide`'s rule for all prompts at once."""
    cheap_first = np.argsort(traffic.expected, kind="stable")  # ties go to the cheaper
    scaled = np.minimum(1.0, traffic.expected / traffic.scale) if traffic.scale > 0 else traffic.expected * 0
    value = beta * traffic.success + (1 - beta) * (1 - scaled)
    value = np.where(np.isnan(traffic.scores), -np.inf, value)[:, cheap_first]
    chosen = cheap_first[np.argmax(value, axis=1)]
    rows = np.arange(len(chosen))
    both = np.stack([traffic.scores[rows, chosen], np.nan_to_num(traffic.costs[rows, chosen])], axis=1)
    return both[month.rows]


def _decide(traffic: Traffic, row: int, beta: float) -> Decision:
    known = [column for column in range(len(traffic.names)) if not np.isnan(traffic.scores[row, column])]
    values = {traffic.names[column]: float(traffic.success[row, column]) for column in known}
    costs = {traffic.names[column]: float(traffic.expected[column]) for column in known}
    return decide(values, costs, {}, beta, 0.0, Random(0), cost_scale=traffic.scale)


def _outcome(traffic: Traffic, row: int, name: str) -> tuple[float, float]:
    column = traffic.names.index(name)
    return float(traffic.scores[row, column]), float(np.nan_to_num(traffic.costs[row, column]))


def _weight(at: float) -> float:
    return WEEKEND if datetime.fromtimestamp(at, UTC).weekday() >= 5 else 1.0
