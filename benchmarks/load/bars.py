"""The gateway's bars beside another gateway, in one run (`router-bench bars`).

Three measurements of `load` and one start without V0; each gateway alone on one core where a bar says so. Rounds
alternate between the two, and every ratio is taken within one round, so that neighbours meet both alike.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.load import gateways, own, processes
from benchmarks.load.drive import Plan, body
from benchmarks.load.gateways import Ask, Children, Command
from benchmarks.load.measure import measure
from benchmarks.load.report import GATEWAY, VERSUS, median
from benchmarks.load.settings import settings
from benchmarks.load.starting import SETTLES_S
from benchmarks.load.upstream import start_mock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.load.report import LoadReport, Scenario

DEFAULTS: dict[str, Any] = {
    "arrivals": "poisson",
    "stream": False,
    "prompt_tokens": 50,
    "same_prompt": False,
    "starts": 1,
    "contexts": 0,
    "warm_up": 50,
    "timeout": 60.0,
    "start_timeout": 180.0,
    "tokens": 200,
    "first_byte_ms": 0.0,
    "chunk_ms": 0.0,
}
CONTEXTS = 256


@dataclass(frozen=True)
class Bar:
    """One bar: what is measured, the bound, our figure and theirs, and the figure that the bound is for."""

    what: str
    bound: str  # "≥ 10 ×"
    ours: float | None
    theirs: float | None
    figure: float | None
    reached: bool | None  # None: cannot be known


def judged(named: LoadReport, streamed: LoadReport, auto: LoadReport, without_mib: float | None) -> list[Bar]:
    """The bars from the reports of the three measurements, each with one client at a time and with 32."""
    (one, many), (stream_one, stream_many) = named.scenarios, streamed.scenarios
    auto_one, auto_many = auto.scenarios
    ours, theirs = auto.gateways[GATEWAY], auto.gateways.get(VERSUS)
    rate, cpu, added, first = "requests_per_s", "cpu_ms", "added_ms", "added_first_token_ms"
    named_there, auto_here = _figure(many, VERSUS, rate), _figure(auto_many, GATEWAY, rate)
    both = auto_here / named_there if auto_here and named_there else None
    added_named, _ = added_both = _both(one, added)
    first_token, _ = first_both = _both(stream_one, first)
    added_auto = _figure(auto_one, GATEWAY, added)
    starts, ready = median(ours.cold_start_s), median(ours.ready_s)
    starts_there, idle_there = (median(theirs.cold_start_s), theirs.idle_mib) if theirs else (None, None)
    streams = _ratio(stream_many, "requests/s")
    return [
        _bar("named, one core, c=32: requests/s", "≥ 10 ×", *_both(many, rate), _ratio(many, "requests/s")),
        _bar("the same: CPU ms a request", "≤ 0.1 ×", *_both(many, cpu), _ratio(many, "CPU ms/request")),
        _bar("named, one core, c=1: added p50, ms", "≤ 1 ms", *added_both, added_named),
        _bar(
            "streams of 200 chunks, one core, c=32: streams/s", "≥ 20 ×", *_both(stream_many, rate), streams
        ),
        _bar("the same, c=1: added to the first token, p50, ms", "≤ 3 ms", *first_both, first_token),
        _bar("auto, c=1: added p50, ms", "≤ 15 ms", added_auto, None, added_auto),
        _bar("auto, c=32: requests/s; there: named, one core", "≥ 1 ×", auto_here, named_there, both),
        _bar("start to the first 200, s", "≤ 3 s", starts, starts_there, starts),
        _bar("start to V0 loaded, s", "≤ 6 s", ready, None, ready),
        _bar("idle memory with V0, MiB", "≤ 700 MiB", ours.idle_mib, idle_there, ours.idle_mib),
        _bar("idle memory without V0, MiB", "≤ 150 MiB", without_mib, idle_there, without_mib),
    ]


def _bar(what: str, bound: str, ours: float | None, theirs: float | None, figure: float | None) -> Bar:
    """A bar whose bound reads "≥ 10 ×" or "≤ 1 ms"."""
    sign, number, _ = bound.split()
    reached = None if figure is None else figure >= float(number) if sign == "≥" else figure <= float(number)
    return Bar(what, bound, ours, theirs, figure, reached)


def _figure(scenario: Scenario, name: str, figure: str) -> float | None:
    measured = scenario.gateways.get(name)
    found = getattr(measured, figure, None)
    return found["p50"] if isinstance(found, dict) else found


def _both(scenario: Scenario, figure: str) -> tuple[float | None, float | None]:
    return _figure(scenario, GATEWAY, figure), _figure(scenario, VERSUS, figure)


def _ratio(scenario: Scenario, figure: str) -> float | None:
    found = scenario.ratios.get(figure)
    return None if found is None else found.median


async def run_all(
    versus: Mapping[str, Any], duration: float, rounds: int, starts: int, said: Callable[[str], None]
) -> tuple[list[Bar], dict[str, LoadReport]]:
    """Measure everything; `versus` are the options of `load` for the other gateway. Raises `GatewayFailed`."""
    common = DEFAULTS | {"duration": duration, "rounds": rounds, "concurrency": "1,32"}
    pinned = common | {"model": own.NAMED, "pin": processes.can_pin()} | dict(versus)
    plans = {
        "named": pinned,
        "streamed": pinned | {"stream": True},
        "auto": common | {"model": "auto", "contexts": CONTEXTS, "starts": starts} | dict(versus),
    }
    reports = {}
    for name, options in plans.items():
        said(name)
        with tempfile.TemporaryDirectory(prefix="router-bench-") as folder:
            children = Children(Path(folder))
            try:
                reports[name] = await measure(
                    settings(options), Path(folder), children, lambda _doing, _share: None
                )
            finally:
                children.kill()
    said("without V0")
    return judged(reports["named"], reports["streamed"], reports["auto"], await _without()), reports


async def _without() -> float | None:
    """Idle memory of our gateway without V0."""
    if not processes.SUPPORTED:
        return None
    with tempfile.TemporaryDirectory(prefix="router-bench-") as folder:
        children = Children(Path(folder))
        try:
            mock, upstream = await start_mock(
                settings(DEFAULTS | {"model": own.NAMED, "rounds": 1}), children
            )
            config = own.write_settings(Path(folder), upstream, 0, without=True)
            asked = Ask(body(Plan("", own.NAMED), 0), None)
            command = Command(
                "router serve", own.words(config), {"upstream": upstream, "model": own.NAMED, "key": ""}
            )
            child, _, _ = await gateways.start(children, command, asked, DEFAULTS["start_timeout"])
            await asyncio.sleep(SETTLES_S)
            found = processes.resident_mib(processes.tree(child.pid))
            await child.stop()
            await mock.stop()
            return found
        finally:
            children.kill()


def run(versus: Mapping[str, Any], duration: float, rounds: int, starts: int, out: Path | None) -> None:
    """Measure, print, write."""
    from rich.console import Console
    from rich.table import Table

    progress = Console(stderr=True)
    bars, reports = asyncio.run(
        run_all(versus, duration, rounds, starts, lambda doing: progress.print(f"{doing} …"))
    )
    table = Table(box=None)
    for column in ("", "bar", "gateway", "versus", "figure", ""):
        table.add_column(column, justify="left" if column in ("", "bar") else "right")
    for each in bars:
        cells = ("–" if value is None else f"{value:,.2f}" for value in (each.ours, each.theirs, each.figure))
        table.add_row(
            each.what, each.bound, *cells, {True: "reached", False: "missed", None: "–"}[each.reached]
        )
    Console(width=None if Console().is_terminal else 130).print(table)
    busy = [
        measured.other_cores or 0.0
        for report in reports.values()
        for scenario in report.scenarios
        for measured in scenario.gateways.values()
    ]
    Console().print(f"other processes kept up to {max(busy):.2f} cores busy meanwhile", highlight=False)
    if out is not None:
        told = {"bars": [asdict(bar) for bar in bars]} | {
            name: report.model_dump(mode="json") for name, report in reports.items()
        }
        out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
