"""`router-bench datasets`, `fetch` and `generate`: what they print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from pathlib import Path


def show() -> None:
    """Print the datasets with a name, then the formats."""
    from rich.console import Console
    from rich.table import Table

    from benchmarks.datasets import FORMATS
    from benchmarks.fetch import GENERATED, NANO, RECORD, SOURCES, folder_of

    table = Table("name", "what", "from", "here", title="Datasets: --data NAME")
    table.add_row(NANO, "6,050 tasks of our own by the 12 models of the nano fleet", "this package", "yes")
    made = (folder_of(GENERATED) / "prompts.parquet").is_file()
    table.add_row(
        GENERATED,
        "the same kind of tasks by SIMULATED models",
        "this machine",
        "yes" if made else "made when asked for",
    )
    for source in SOURCES.values():
        here = (folder_of(source.name) / RECORD).is_file()
        table.add_row(
            source.name, source.what, source.page, "yes" if here else f"router-bench fetch {source.name}"
        )
    formats = Table("format", "what is read", title="Formats: --data PATH")
    for name, what in FORMATS.items():
        formats.add_row(name, what)
    console = Console()
    console.print(table)
    console.print(formats)


def download(name: str, out: Path | None) -> None:
    """Fetch a dataset; a failure is one message and exit status 1."""
    from benchmarks.fetch import fetch

    try:
        fetch(name, out, say=typer.echo)
    except OutcomesError as error:
        _fail(error)


def make(out: Path | None, tasks: int, seed: int) -> None:
    """Generate the simulated dataset and say what is in it."""
    from benchmarks.datasets.generated import generate
    from benchmarks.fetch import GENERATED, folder_of
    from benchmarks.outcomes import read

    folder = out or folder_of(GENERATED)
    try:
        generate(folder, tasks, seed)
        outcomes = read(folder)
    except OutcomesError as error:
        _fail(error)
    except OSError as error:
        _fail(OutcomesError(str(error), folder))
    else:
        prompts, models = outcomes.scores.shape
        named = "generated" if out is None else str(folder)
        typer.echo(f"{prompts} prompts by {models} SIMULATED models in {folder}; use it as --data {named}")


def _fail(error: OutcomesError) -> None:
    typer.echo(f"router-bench: {error}", err=True)
    raise typer.Exit(1)
