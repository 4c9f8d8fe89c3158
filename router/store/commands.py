"""What commands that open the store share, and `router contexts`."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

Config = Annotated[Path, typer.Option("--config", "-c", help="The router.yaml that names the store.")]
CONFIG = Path("router.yaml")


def contexts(config: Config = CONFIG) -> None:
    """Show what the store has seen of each model."""
    from rich.table import Table

    from router.store.queries import model_summaries

    table = Table("Model")
    for title in ("Outcomes", "Mean score", "Mean cost", "Last outcome"):
        table.add_column(title, justify="right")
    with opened_store(config) as engine:
        for seen in model_summaries(engine):
            cost = "unknown" if seen.mean_cost is None else f"${seen.mean_cost:.6f}"
            table.add_row(
                seen.model, f"{seen.rows:,}", f"{seen.mean_score:.3f}", cost, when(seen.last_outcome)
            )
    if table.row_count:
        _print(table)
    else:
        typer.echo("No outcomes yet: send feedback, or run `router profile`.")


@contextmanager
def opened_store(config: Path) -> Iterator[Engine]:
    """The store that router.yaml names. Ends the command with 2 for a bad router.yaml, 1 for a bad store."""
    from router.config import ConfigError, load
    from router.store.engine import open_store
    from router.store.errors import StoreError

    try:
        engine = open_store(load(config).store.url)
    except ConfigError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from None
    except StoreError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    try:
        yield engine
    except StoreError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    finally:
        engine.dispose()


def when(seconds: float | None) -> str:
    """A Unix time in the terminal's time zone; nothing for None."""
    return (
        "" if seconds is None else datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    )


def _print(table: object) -> None:
    from rich.console import Console

    Console().print(table)
