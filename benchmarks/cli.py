"""`router-bench`: measuring the router."""

from __future__ import annotations

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
