"""The tables of `router-bench load`, and below them what must be known to read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from benchmarks.load.report import GATEWAY, PERCENTILES, VERSUS, contended, median

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from benchmarks.load.report import LoadReport, Measured, Scenario

FEW = 100  # requests below which a 99th percentile is next to the slowest one


def show(report: LoadReport, console: Console) -> None:
    """Print everything."""
    for name, each in report.gateways.items():
        console.print(f"{name}: {each.command or each.url}, model {each.model}", soft_wrap=True, markup=False)
    console.print(_starts(report))
    for scenario in report.scenarios:
        console.print(f"\n{scenario.title}", style="bold")
        console.print(_table(scenario))
    console.print()
    for note in notes(report):
        console.print(note, soft_wrap=True, markup=False)


def notes(report: LoadReport) -> list[str]:
    """What restricts the figures: other processes, failures, replies that did not come from the mock."""
    every = [
        (scenario, name, each)
        for scenario in report.scenarios
        for name, each in {"direct": scenario.direct, **scenario.gateways}.items()
    ]
    found = [
        "direct is the mock without a gateway: what generator and mock cost by themselves. added is the difference of "
        "the percentiles; with several clients at once it holds their waiting for one another."
    ]
    used = [each.other_cores for _, _, each in every if each.other_cores is not None]
    if any(each.contended for _, _, each in every):
        found.append(
            f"* contended: other processes kept up to {max(used):.2f} of {report.cores} cores busy; trust CPU per "
            "request more than times."
        )
    elif used:
        found.append(f"other processes used at most {max(used):.2f} of {report.cores} cores.")
    for scenario, name, each in every:
        failed = ", ".join(f"{kind} {count}" for kind, count in sorted(each.errors.items()))
        if failed:
            found.append(
                f"failed: {scenario.title}, {name}: {failed} of {each.ok + sum(each.errors.values())}"
            )
        strayed = [
            r for r in each.rounds if r.reached_mock is not None and not r.errors and r.reached_mock != r.sent
        ]
        if strayed:
            found.append(
                f"{scenario.title}, {name}: {strayed[0].sent} chats asked for, {strayed[0].reached_mock} reached the "
                "mock: it answers from elsewhere, or asks more than once."
            )
    if any(each.latency_ms is not None and each.latency_ms.count < FEW for _, _, each in every):
        found.append(f"a p99 of fewer than {FEW} requests is next to the slowest one.")
    return found


def _starts(report: LoadReport) -> Table:
    table = Table(box=None)
    table.add_column("")
    for column in ("cold start, s", "V0 ready, s", "idle MiB", "context rows"):
        table.add_column(column, justify="right")
    for name, each in report.gateways.items():
        starts = ", ".join(
            f"{seconds:.2f}{'*' if contended(others) else ''}"
            for seconds, others in zip(each.cold_start_s, each.cold_start_other_cores, strict=True)
        )
        rows = "–" if each.context_rows is None else str(each.context_rows)
        ready = ", ".join(f"{seconds:.2f}" for seconds in each.ready_s)
        table.add_row(name, starts or "–", ready or "–", _said(each.idle_mib, 0), rows)
    if VERSUS in report.gateways:
        ours, theirs = report.gateways[GATEWAY], report.gateways[VERSUS]
        pairs = (median(ours.cold_start_s), median(theirs.cold_start_s)), (ours.idle_mib, theirs.idle_mib)
        cold, idle = (f"{a / b:.2f}" if a and b else "–" for a, b in pairs)
        table.add_row("gateway / versus", cold, "", idle, "")
    return table


def _table(scenario: Scenario) -> Table:
    table = Table(box=None)
    table.add_column("")
    for name in ("direct", *scenario.gateways):
        table.add_column(name, justify="right")
    if scenario.ratios:
        table.add_column("gateway / versus", justify="right")
    targets = (scenario.direct, *scenario.gateways.values())

    def row(
        title: str, figure: Callable[[Measured], float | None], digits: int, *, timed: bool = False
    ) -> None:
        values = [figure(each) for each in targets]
        if all(value is None for value in values):
            return
        cells = [
            _said(value, digits) + ("*" if timed and value is not None and each.contended else "")
            for value, each in zip(values, targets, strict=True)
        ]
        found = scenario.ratios.get(title.removesuffix(", ms"))
        ratio_cell = "" if found is None else f"{found.median:.2f} [{found.low:.2f}, {found.high:.2f}]"
        table.add_row(title, *cells, *([ratio_cell] if scenario.ratios else []))

    def percentile(of: str, name: str) -> Callable[[Measured], float | None]:
        def figure(each: Measured) -> float | None:
            found = getattr(each, of)
            return (
                found if found is None else found[name] if isinstance(found, dict) else getattr(found, name)
            )

        return figure

    for title, of in (
        ("latency", "latency_ms"),
        ("added latency", "added_ms"),
        ("first token", "first_token_ms"),
        ("added first token", "added_first_token_ms"),
    ):
        for name in PERCENTILES:
            row(f"{title} {name}, ms", percentile(of, name), 2, timed=True)
    row("requests/s", lambda each: each.requests_per_s, 1, timed=True)
    row("requests/s per core", lambda each: each.requests_per_core_s, 1)
    row("CPU ms/request", lambda each: each.cpu_ms, 2)
    row("CPU ms/request, generator", lambda each: median([r.cpu_load_ms for r in each.rounds]), 2)
    row("CPU ms/request, mock", lambda each: median([r.cpu_mock_ms for r in each.rounds]), 2)
    row("peak MiB", lambda each: each.peak_mib, 0)
    row("sent late p99, ms", percentile("late_ms", "p99"), 2)
    row("answered", lambda each: each.ok, 0)
    row("failed", lambda each: sum(each.errors.values()), 0)
    row("cores used by others", lambda each: each.other_cores, 2)
    return table


def _said(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"
