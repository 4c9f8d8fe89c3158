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
