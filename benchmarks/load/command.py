"""`router-bench load`: from the options to the tables and the file, and ending what was started."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from benchmarks.load.gateways import Children, GatewayFailed
from benchmarks.load.measure import measure
from benchmarks.load.settings import settings
from benchmarks.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from benchmarks.load.report import LoadReport
    from benchmarks.load.settings import Settings

FAILED, INTERRUPTED, TERMINATED = 1, 130, 143


def run(options: Mapping[str, Any]) -> None:
    """Measure, print, write; a failure is a message and exit status 1. Nothing that was started stays behind."""
    from rich.console import Console

    from benchmarks.load.tables import show

    out: Path | None = options["out"]
    try:
        chosen = settings(options)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
        report = _measure(chosen)
        show(report, Console())
        if out is not None:
            out.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except (SettingsError, GatewayFailed, OSError) as error:
        typer.echo(f"router-bench: {error}", err=True)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        typer.echo("router-bench: interrupted; what it started is ended", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except asyncio.CancelledError:
        raise typer.Exit(TERMINATED) from None
    if any(each.ok == 0 for scenario in report.scenarios for each in scenario.gateways.values()):
        raise typer.Exit(FAILED)


def _measure(chosen: Settings) -> LoadReport:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with tempfile.TemporaryDirectory(prefix="router-bench-") as folder:
        children = Children(Path(folder))
        try:
            with bars as progress:
                bar = progress.add_task("", total=1.0)

                def on_progress(doing: str, share: float) -> None:
                    progress.update(bar, description=doing, completed=share)

                return asyncio.run(_until_told_to_end(measure(chosen, Path(folder), children, on_progress)))
        finally:
            children.kill()


async def _until_told_to_end(work: Coroutine[Any, Any, LoadReport]) -> LoadReport:
    """SIGTERM and SIGHUP do what Ctrl-C does: what was started is ended first."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await work
