"""`router-bench`: measuring the router."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Measure the router.")


@app.callback()
def _bench() -> None:
    """Measure the router."""


@app.command()
def latency(requests: int = typer.Option(200, help="Decisions to time in each setting.")) -> None:
    """One decision's time by part, for fleets of 5 and 50 and contexts of 256 and 2,048 rows."""
    from benchmarks.latency import run

    run(requests)


@app.command()
def crash(
    kills: int = typer.Option(5, help="Gateways to kill, one after another."),
    after: float = typer.Option(3.0, help="Seconds of load before the kill."),
) -> None:
    """kill -9 under load: outcomes acknowledged against outcomes found."""
    from benchmarks.crash import run

    run(kills, after)


@app.command()
def datasets() -> None:
    """Datasets that --data knows by name, the formats it reads, and what is here already."""
    from benchmarks.datasets.commands import show

    show()


@app.command()
def fetch(
    name: str = typer.Argument(help="A dataset of `router-bench datasets`."),
    out: Path | None = typer.Option(
        None, help="Folder for it; by default the cache, where --data NAME finds it."
    ),
) -> None:
    """Download a public dataset, with its licence and checksums shown."""
    from benchmarks.datasets.commands import download

    download(name, out)


@app.command()
def generate(
    out: Path | None = typer.Option(None, help="Folder for it; by default the cache, as --data generated."),
    tasks: int = typer.Option(2_000, min=1, help="Prompts; every simulated model answers each."),
    seed: int = typer.Option(0, help="The same seed makes the same dataset."),
) -> None:
    """Make the demo's procedural tasks, answered by the simulated fleet: needs no connection."""
    from benchmarks.datasets.commands import make

    make(out, tasks, seed)
