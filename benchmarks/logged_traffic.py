"""A store of the gateway as results.json and the console show it."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from benchmarks import results
from benchmarks.datasets import gateway
from benchmarks.datasets.decisions import read_traffic
from benchmarks.off_policy import ALWAYS, V0_AT, evaluate
from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from benchmarks.off_policy import Estimate, Interval, PolicyEstimate

Ends = tuple[float, float, float]
DOUBLY_ROBUST = "doubly_robust"


def measure(stores: Sequence[str], betas: Sequence[float]) -> dict[str, results.LoggedTraffic]:
    """Every store by its name. Raises `OutcomesError`."""
    found: dict[str, results.LoggedTraffic] = {}
    for store in stores:
        name = gateway.name_of(store)
        if name in found:
            raise OutcomesError(
                f"another store is called {name!r} too; copy one to another name", gateway.shown(store)
            )
        found[name] = _measure(store, betas)
    return found


def _measure(store: str, betas: Sequence[float]) -> results.LoggedTraffic:
    traffic = read_traffic(store)
    log = traffic.log
    return results.LoggedTraffic(
        store=gateway.shown(store),
        decisions=traffic.decisions,
        rows=len(log.scores),
        begin=_when(traffic.begin),
        end=_when(traffic.end),
        exploration=log.exploration,
        models={
            name: results.LoggedModel(candidate=seen.candidate, chosen=seen.chosen, scored=seen.scored)
            for name, seen in traffic.models.items()
        },
        policies=[_policy(found) for found in evaluate(log, betas)],
        exclusions=[
            results.Excluded(what=each.what, why=each.why, count=each.count) for each in log.exclusions
        ],
    )


def _policy(found: PolicyEstimate) -> results.OffPolicy:
    of_success = found.success
    return results.OffPolicy(
        policy=found.policy,
        success=_intervals(of_success),
        cost=_intervals(found.cost),
        effective_rows=None if of_success is None else of_success.effective_rows,
        drawn_rows=None if of_success is None else of_success.drawn_rows,
        rows=None if of_success is None else of_success.rows,
        unsupported=None if of_success is None else of_success.unsupported,
        refused=found.refused,
    )


def _intervals(found: Estimate | None) -> dict[str, Ends] | None:
    def ends(interval: Interval) -> Ends:
        return interval.mean, interval.low, interval.high

    if found is None:
        return None
    return {
        "inverse_propensity": ends(found.inverse_propensity),
        "self_normalised": ends(found.self_normalised),
        DOUBLY_ROBUST: ends(found.doubly_robust),
    }


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def show(found: Mapping[str, results.LoggedTraffic], console: Console) -> None:
    """The doubly robust estimates of every store, then what is refused, by reason."""
    from rich.markup import escape
    from rich.table import Column, Table

    for name, traffic in found.items():
        heads = (Column("", no_wrap=True), "success", "95%", "USD/1k", "95%", "eff. rows")
        title = escape(f"{name}: {said(traffic)}; doubly robust")
        table = Table(*heads, title=title, title_justify="left", box=None, pad_edge=False)
        refused = defaultdict(list)
        for policy in traffic.policies:
            if policy.refused is not None:
                refused[policy.refused.partition(" (")[0]].append(policy.policy)
            if policy.success is not None:
                shown = (*_columns(policy.success, 1, 3), *_columns(policy.cost, 1000, 4))
                table.add_row(escape(policy.policy), *shown, f"{policy.effective_rows:.0f}")
        console.print(table)
        for why, policies in refused.items():
            listed = escape(_listed(policies))
            console.print(f"[bold]refused[/bold]: {listed}: {why}", highlight=False, soft_wrap=True)
        for each in traffic.exclusions:
            console.print(f"left out: {each.count} {each.what}: {each.why}", highlight=False, soft_wrap=True)


def said(traffic: results.LoggedTraffic) -> str:
    """How much there is, in words."""
    return f"{traffic.rows} of {traffic.decisions} decisions, {traffic.exploration:.1%} explored"


def _listed(policies: Sequence[str]) -> str:
    """Names with commas; a beginning that they share ("always ", "V0 at β=") is said once."""
    words, before = [], ""
    for policy in policies:
        beginning = next((each for each in (ALWAYS, V0_AT) if policy.startswith(each)), "")
        words.append(policy.removeprefix(beginning) if beginning == before else policy)
        before = beginning
    return ", ".join(words)


def _columns(found: Mapping[str, Ends] | None, unit: float, digits: int) -> tuple[str, str]:
    if found is None:
        return "–", "–"
    mean, low, high = (unit * value for value in found[DOUBLY_ROBUST])
    return f"{mean:.{digits}f}", f"{low:.{digits}f}–{high:.{digits}f}"
