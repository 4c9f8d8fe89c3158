"""`router-bench sweep`: from the options to OUT, and what is said on the way."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from benchmarks import logged_traffic, output, results, sweep
from benchmarks.cells import peak_memory
from benchmarks.datasets import gateway
from benchmarks.outcomes import OutcomesError
from benchmarks.settings import SettingsError, settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from benchmarks.settings import Settings

FAILED = 1
INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended
SHOWN = {
    "accuracy": "acc.",
    "aiq": "AIQ",
    "interval": "95%",
    "cost_save": "save",
    "gap_closed": "gap",
    "auc": "AUC",
    "ece": "ECE",
    "decide_us": "µs",
}


def run(options: Mapping[str, Any], config: Path | None) -> None:
    """Sweep; a failure is a message and exit status 1."""
    from rich.console import Console

    console = Console()
    try:
        chosen = settings(options, config)
        status = _run(chosen, console)
    except (OutcomesError, SettingsError) as error:
        for line in str(error).splitlines():
            typer.echo(f"router-bench: {line}", err=True)
        raise typer.Exit(FAILED) from None
    except OSError as error:
        typer.echo(f"router-bench: {error}", err=True)
        raise typer.Exit(FAILED) from None
    if status:
        raise typer.Exit(status)


def _run(chosen: Settings, console: Console) -> int:
    """The exit status. What is finished is written, interrupted or not."""
    started = time.perf_counter()
    sweep.router_names(chosen)  # a misspelt router is said before anything is read
    stores = [path for path in chosen.data if gateway.is_store(path)]
    interrupted = False
    with peak_memory() as peak:
        off_policy = logged_traffic.measure(stores, chosen.betas)
        datasets = [sweep.prepare(chosen, path) for path in chosen.data if path not in stores]
        names = [dataset.outcomes.name for dataset in datasets]
        if len(set(names)) < len(names):
            raise SettingsError(
                f"data: two datasets are called alike ({', '.join(sorted(names))}); rename a folder"
            )
        try:
            for dataset in datasets:
                sweep.run(chosen, dataset, console)
        except KeyboardInterrupt:
            interrupted = True
            console.print("interrupted: writing what is finished; the same command goes on from there")
    made = output.write(chosen, datasets, off_policy, _command(), time.perf_counter() - started, peak[0])
    if datasets:
        _show(made, console)
    logged_traffic.show(off_policy, console)
    console.print(f"see {chosen.out / 'report.html'}", soft_wrap=True)
    return INTERRUPTED if interrupted else FAILED if made.failures else 0


def _show(made: results.Results, console: Console) -> None:
    from rich.table import Table

    for part in (made, *made.parts.values()):
        table = Table("", *SHOWN.values(), title=part.title, box=None, title_justify="left")
        lines = {
            **part.routers,
            **{n: r for n, r in part.references.items() if not n.startswith("constant:")},
        }
        for name, line in sorted(lines.items(), key=lambda item: -(item[1].aiq or 0)):
            table.add_row(name, *(_figure(line, figure) for figure in SHOWN))
        console.print(table)
    for failure in made.failures:
        console.print(
            f"[red]failed[/red]: {failure.data} · {failure.router} · seed {failure.seed}: {failure.error}"
        )


def _figure(line: results.RouterResult, name: str) -> str:
    if name == "interval":
        ends = line.intervals.get("aiq")
        return "–" if ends is None else f"{ends[0]:.3f}–{ends[1]:.3f}"
    value = getattr(line, name)
    return "–" if value is None else f"{value:.0f}" if name == "decide_us" else f"{value:.3f}"


def _command() -> str:
    """What was typed, without the passwords of stores."""
    return shlex.join(["router-bench", *map(gateway.without_password, sys.argv[1:])])
